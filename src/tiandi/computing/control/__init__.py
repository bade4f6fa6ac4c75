"""The control system: it brings a cold chip up by measuring, keeps it calibrated, and knows of the chip nothing but what it measured."""
