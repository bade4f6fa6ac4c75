"""Machines: what is published of each, their lattices, calibrations and twins."""
