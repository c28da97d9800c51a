"""A piece in one file that plays in any browser."""
