"""Measurements of sounds and of memories."""
