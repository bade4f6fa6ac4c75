"""The quantum layer (ITU-T Y.3802): QKD links, each a pair of QKD modules that turns light into key, block after block."""
