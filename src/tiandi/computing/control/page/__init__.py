"""A page that shows a calibration: the chip by any parameter, every fit as a plot, what is being measured now."""
