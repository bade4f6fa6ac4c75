"""The QKDN management layer (ITU-T Y.3801): faults and who was told of them."""
