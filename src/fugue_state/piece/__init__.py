"""A score laid out for a memory: its lines, its events in time, and what a hand does to them."""
