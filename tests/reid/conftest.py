"""Searches in a test's own process."""

from tests.without_ray import without_ray

__all__ = ["without_ray"]
