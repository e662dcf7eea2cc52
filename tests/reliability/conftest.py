"""The tiny data set and space of tests/tuning."""

from tests.tuning.conftest import run_module, tiny_data, tiny_space

__all__ = ["run_module", "tiny_data", "tiny_space"]
