"""From a space to tasks: a distribution over degradations, its draws, their addresses and files."""
