"""The judge: how far samples are from the ideal machine, with error bars, beside the experiment and the mock-ups."""

from tiandi.computing.photonics.validation.judge import EXPERIMENT, Score, Verdict, validate

__all__ = ["EXPERIMENT", "Score", "Verdict", "validate"]
