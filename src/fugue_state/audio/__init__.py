"""Sound as arrays: files, mel-spectrograms, phase, mixing, effects, loudness. Independent of the networks."""
