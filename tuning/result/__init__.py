"""What a finished search leaves: best weights, tables, plots, the summary."""
