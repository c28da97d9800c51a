"""Carries a memory to other instruments."""
