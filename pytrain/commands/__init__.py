"""The `pytrain` command, and the commands that `degrade` takes from here; one file each."""
