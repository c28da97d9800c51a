"""A score laid out for a memory: its events in time, and what is remembered at each."""
