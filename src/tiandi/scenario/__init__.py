"""The composition root: scenario files become a running network, on a simulated clock."""
