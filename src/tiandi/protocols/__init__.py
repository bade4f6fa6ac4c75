"""What a QKD protocol sees of the light, and what key it proves."""
