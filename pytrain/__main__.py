"""`python -m pytrain` is the `pytrain` command; `torchrun -m pytrain fit ...` starts it on several devices."""

from .commands.cli import main

if __name__ == "__main__":
    main()
