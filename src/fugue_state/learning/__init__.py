"""Learning a memory and its vocoder: the only folder that imports PyTorch, Lightning Fabric and scikit-learn.

Whoever only plays has none of them: then there is nothing here to import, and that is said.
"""

from fugue_state.errors import check_installed

check_installed("learning", "learn", ("torch", "lightning_fabric", "sklearn", "librosa"))
