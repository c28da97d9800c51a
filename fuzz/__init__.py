"""Malformed inputs by the thousand, each from a seed: whatever comes, it is taken or refused in a line.

    python -m fuzz [--kind KIND ...] [--count N] [--seed N] [--only N]

prints a line of JSON for each kind, with how each failure is repeated. It exits with 1 if anything failed.
"""
