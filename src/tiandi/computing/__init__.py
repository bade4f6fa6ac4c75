"""The quantum computers: their data sheets, twins that run circuits, error correction, and the cloud that lends them."""
