"""`python -m tiandi` is `tiandi`."""

from tiandi.cli import main

main()
