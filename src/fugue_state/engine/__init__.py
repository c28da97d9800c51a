"""What sounds: events become voices, voices become blocks."""
