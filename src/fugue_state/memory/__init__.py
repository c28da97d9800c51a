"""Trained memories: generator, vocoder, checkpoints. Nothing here depends on scores or pieces."""
