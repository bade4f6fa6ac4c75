"""The QKDN control layer (ITU-T Y.3804): what is connected to what, and which way a key goes."""
