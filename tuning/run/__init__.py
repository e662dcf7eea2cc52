"""Running trials with Ray: processes, resources, the cluster, and what each trial does."""
