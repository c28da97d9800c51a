"""What is seen of a piece: its film, its portrait, its plan."""
