"""Draws sample data sets: people, vehicles, and the cameras that see them."""
