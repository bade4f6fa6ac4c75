"""How keys get from one KME to another: one-time pads hop by hop, shares, ML-KEM, confirmation end to end."""
