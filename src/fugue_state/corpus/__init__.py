"""From recordings to labelled clips: a strummer, and readers for folders of sounds."""
