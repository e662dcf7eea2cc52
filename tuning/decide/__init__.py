"""Decisions: what to try, what to promote, what to pick. They follow from the record alone."""
