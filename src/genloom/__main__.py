"""`python -m genloom` is the same as the command `genloom`."""

from genloom.cli import main

if __name__ == "__main__":
    main()
