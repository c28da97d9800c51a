"""The score: a piece as data, in the words of a composer; it knows no network."""
