"""Prints what came of the fuzz tests' examples, where they were many."""

from tests.reliability import fuzzing


def pytest_terminal_summary(terminalreporter):
    if fuzzing.EXAMPLES > fuzzing.FEW and fuzzing.outcomes:
        terminalreporter.section("bad input")
        for line in fuzzing.table():
            terminalreporter.write_line(line)
