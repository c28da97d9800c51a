"""What is learned: networks, training, checkpoints. Knows no piece."""
