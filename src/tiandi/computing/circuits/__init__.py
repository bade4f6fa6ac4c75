"""Circuits: gates, the languages they are written in, and what noise makes of them."""
