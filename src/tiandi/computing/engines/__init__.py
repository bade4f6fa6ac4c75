"""Engines: the ways to run a noisy circuit, and the choice between them."""
