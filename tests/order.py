"""The order of the tests: the longest first, and one by one, so that all workers of pytest-xdist end at the same time.

A test that is not listed here counts as short. The tests of modules that share something dear stay together.
"""

from xdist.scheduler import LoadScopeScheduling

LONG_S = {
    "tests/reliability/test_crashes.py": 60,
    "tests/tuning/test_search.py::test_search_has": 40,  # waits for the search that all share
    "tests/tuning/confirm/test_winner.py::test_a_search": 40,
    "tests/tuning/run/test_cluster.py": 35,
    "tests/tuning/result/test_ablation.py": 20,
    "tests/tuning/test_search.py::test_a_search_begins": 10,
    "tests/reid_train/test_train_command.py": 9,
    "tests/tuning/test_costs_search.py": 8,
    "tests/tuning/test_teachers.py": 7,
    "tests/reliability/test_disk_full.py": 6,
    "tests/reid_train/test_export.py": 5,
    "tests/tuning/record/test_training_code.py": 4,
}
"""Seconds that a test takes alone, by what its id begins with."""
TOGETHER = (
    "tests/tuning/run/test_cluster.py",
    "tests/tuning/record/test_drivers.py",
    "tests/tuning/record/test_training_code.py",
    "tests/reid_train/test_train_command.py",
)
"""Modules with a fixture that takes long."""


def seconds(test: str) -> int:
    """How long the test of this id takes, roughly; 0 for a short one."""
    return max((long_s for begin, long_s in LONG_S.items() if test.startswith(begin)), default=0)


class OneByOne(LoadScopeScheduling):
    """Hands a worker the next test, or all of the next module in TOGETHER.

    pytest-xdist's own way to say so, its mark xdist_group, does nothing with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        return module if module in TOGETHER else nodeid
