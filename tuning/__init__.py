"""Many training runs: search, pick, retrain, report. The only package that imports ray and optuna."""
