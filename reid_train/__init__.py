"""One training run, with or without a tuner around it. Imports only `data`."""
