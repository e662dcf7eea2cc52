"""What makes a training run: one TrainConfig, checked where it is made, and the YAML file that it is read from."""
