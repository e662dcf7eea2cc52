"""Many training runs: search, pick, retrain, report. The only package that imports ray and optuna."""

import reid_train  # noqa: F401 - which sees to it that `data` is this project's
