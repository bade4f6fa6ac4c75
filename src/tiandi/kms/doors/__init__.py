"""The doors of a KME: one module for each interface, routes over an entity that knows nothing of transports."""
