"""Fugue State: an instrument for machine forgetting."""

__version__ = "0.1.0"
