"""A piece as data: TOML, cues and paths, in the words of a composer; it knows no memory."""
