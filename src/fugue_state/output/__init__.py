"""Files that are written: sound, stems, markers, and the record of how they were made."""
