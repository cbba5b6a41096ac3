"""`python -m pydegrade` is the `degrade` command."""

from .commands.cli import main

if __name__ == "__main__":
    main()
