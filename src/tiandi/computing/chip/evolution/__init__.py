"""Evolution of transmons and of coupled pairs under sampled pulses, in batches."""
