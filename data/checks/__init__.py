"""What the doctor looks for in a data set."""
