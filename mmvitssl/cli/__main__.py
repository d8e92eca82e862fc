"""``python -m mmvitssl.cli`` is ``mmvitssl``."""

from mmvitssl.cli import main

if __name__ == "__main__":
    main()
