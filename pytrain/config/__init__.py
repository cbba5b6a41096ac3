"""A run as one value: every section, read from TOML with places for errors, and described for people."""
