"""The photonic wing: Gaussian boson sampling by the Jiuzhang machines' twins, exact functions, fast samplers, and the judge of them all."""
