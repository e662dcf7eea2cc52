"""The search space: what is searched, how, and how a YAML file says so."""
