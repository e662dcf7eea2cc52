"""Data sets: their layouts on disk, one reader each, and how their identities are split."""
