"""What a control system sees of a chip: lines to play pulses on, a receiver to listen with. A twin is one such instrument."""
