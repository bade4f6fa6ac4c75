"""The chip twin: transmons with tunable couplers and readout resonators at the level of pulses, behind the interface of an instrument."""
