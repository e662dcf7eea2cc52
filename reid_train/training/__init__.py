"""One training run: its images and inputs, the loop, validation, and the folder that it writes."""
