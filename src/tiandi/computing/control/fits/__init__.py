"""Fits over many targets at once: one family of models in each file, one engine under them. Use them through `control.fitting`."""
