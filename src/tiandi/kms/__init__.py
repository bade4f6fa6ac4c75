"""The key management layer (ITU-T Y.3803): key management entities that store, relay and supply keys."""
