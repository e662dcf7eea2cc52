"""The tiny data set and space of tests/tuning; prints what came of the fuzz tests' examples, where they were many."""

from tests.tuning.conftest import run_module, tiny_data, tiny_space

from tests.reliability import fuzzing

__all__ = ["run_module", "tiny_data", "tiny_space"]


def pytest_terminal_summary(terminalreporter):
    if fuzzing.EXAMPLES > fuzzing.FEW and fuzzing.outcomes:
        terminalreporter.section("bad input")
        for line in fuzzing.table():
            terminalreporter.write_line(line)
