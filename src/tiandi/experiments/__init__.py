"""Published experiments, reproduced: each figure beside ours, with its label, its tolerance and a verdict."""
