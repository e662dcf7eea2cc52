"""The order of the tests: the longest first, so that all workers of pytest-xdist end at about the same time.

`make test` hands tests out one by one, in this order. A test that is not listed counts as short; those of a module
whose fixture takes long stay together by `pytest.mark.xdist_group`.
"""

LONG_S = {
    "tests/reliability/test_crashes.py": 60,
    "tests/tuning/test_search.py::test_search_has": 40,  # waits for the search that all share
    "tests/tuning/confirm/test_winner.py::test_a_search": 40,
    "tests/tuning/run/test_cluster.py": 35,
    "tests/tuning/result/test_ablation.py": 20,
    "tests/tuning/prepare/test_models.py": 15,
    "tests/tuning/decide/test_plan.py": 15,
    "tests/tuning/decide/test_sampler.py": 10,
    "tests/tuning/test_costs_search.py": 10,
    "tests/tuning/test_bad_images.py": 10,
}
"""Seconds that tests take alone, by what their ids begin with."""


def seconds(test: str) -> int:
    """How long the test of this id takes, roughly; 0 for a short one."""
    return max((long_s for begin, long_s in LONG_S.items() if test.startswith(begin)), default=0)
