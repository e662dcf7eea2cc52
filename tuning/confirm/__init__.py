"""How sure the winner is: repeats with new seeds, and the statistics over them."""
