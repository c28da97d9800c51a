"""What forgetting is: which units go, how far, and when."""
