"""What a run leaves and what it may start from: checkpoints, and weights of other origins."""
