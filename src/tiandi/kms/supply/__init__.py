"""Keeping keys ready for pairs of SAEs, and sharing link key among them."""
