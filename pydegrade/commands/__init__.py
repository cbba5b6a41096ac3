"""The `degrade` command, its jobs over folders, and what commands show: progress, sheets of images."""
