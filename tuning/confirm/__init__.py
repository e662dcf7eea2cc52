"""How sure the winner is: repeats with new seeds, and the winner among what was trained to the top."""
