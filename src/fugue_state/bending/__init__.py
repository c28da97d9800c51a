"""Forgetting: which units go, how far, and when."""
