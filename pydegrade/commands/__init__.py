"""The `degrade` command: a file for each command, `actions` for what they do, `shell` for what all of them share."""
