"""``python -m zoo``."""

from ._cli import main

main()
