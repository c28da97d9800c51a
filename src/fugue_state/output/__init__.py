"""What is written: sound, stems, markers, and how to make them again."""
