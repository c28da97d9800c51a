"""What can be measured of a sound or of a memory."""
