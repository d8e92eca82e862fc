"""Starts the program, for processes that have its imports already."""

from mmvitssl.cli import main

if __name__ == "__main__":
    main()
