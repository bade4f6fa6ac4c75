"""Key streams (ETSI GS QKD 004)."""
