"""`python -m tiandi` is `tiandi`."""

from tiandi.cli.main import main

main()
