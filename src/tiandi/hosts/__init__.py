"""The two ends of a QKD link as hosts of their own: event files in, keys out, and a connection between them."""
