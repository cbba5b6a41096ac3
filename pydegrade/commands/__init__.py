"""The `degrade` command: a file for each command, `jobs` for what they do, `shell` for what all of them share; sheets."""
