"""What can be measured of a sound."""
