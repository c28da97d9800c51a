"""A memory as it is played: its header, layers, bends and vocoder, and where memories are found."""
