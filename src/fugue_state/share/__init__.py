"""Shares a piece: memory, score and instrument in one HTML file that plays without anything else."""
