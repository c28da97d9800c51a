"""Sound as arrays: files, mel-spectrograms, phase, mixing, effects, loudness. Knows no network."""
