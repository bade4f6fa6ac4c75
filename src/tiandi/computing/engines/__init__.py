"""Engines: the ways to run a noisy circuit, and the choice between them."""

from tiandi.computing.engines.choice import Choice, Limits, Run, TooExpensive, choose, run
from tiandi.computing.engines.state_vector import expectation_values, final_state

__all__ = ["Choice", "Limits", "Run", "TooExpensive", "choose", "expectation_values", "final_state", "run"]
