"""Error correction: surface codes on the machines' lattices, with their twins' noise, decoded by matching."""
