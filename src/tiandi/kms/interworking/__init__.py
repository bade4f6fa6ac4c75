"""Keys to and from other networks (ETSI GS QKD 020), as the KME at the border passes them on."""
