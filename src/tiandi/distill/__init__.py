"""From detections to keys: two state machines, Alice and Bob, that exchange messages and nothing else. No I/O."""
