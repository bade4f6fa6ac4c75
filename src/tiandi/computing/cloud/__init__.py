"""The cloud that lends the quantum computers: users, a durable queue of jobs, workers, and the doors through which both are reached."""
