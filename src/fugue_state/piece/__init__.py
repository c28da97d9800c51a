"""Time: the score, the instrument that plays it, and the finished file."""
