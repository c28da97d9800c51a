"""Learning a memory and its vocoder: the only folder that imports PyTorch, Lightning Fabric and scikit-learn."""
