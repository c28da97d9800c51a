"""Pictures of a piece: its film, its portrait, its plan."""
