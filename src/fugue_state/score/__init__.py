"""The score: a piece as data, in a composer's terms, independent of the networks."""
