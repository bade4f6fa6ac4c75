"""Random circuit sampling: the circuits, and what their samples say about the machine."""
