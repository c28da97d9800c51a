"""What the site shows of the code and of what was measured, made when it is built."""
