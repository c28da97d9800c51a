"""Sound: events become voices, and voices become blocks."""
