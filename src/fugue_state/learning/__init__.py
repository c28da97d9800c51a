"""Learning a memory and its vocoder: the only folder that imports PyTorch, Lightning Fabric and scikit-learn.

An installation for playing only lacks these packages; importing this folder then says so.
"""

from fugue_state.errors import check_installed

check_installed("learning", "learn", ("torch", "lightning_fabric", "sklearn", "librosa"))
