"""Light and orbits: pure functions on arrays, units in names, sources in docstrings."""
