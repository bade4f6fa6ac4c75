"""Judging a control system: what it believes of a chip twin, beside the twin's truth. Neither chip nor control imports this."""
