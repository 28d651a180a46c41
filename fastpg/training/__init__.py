"""Training: the loop, and what is seen of it."""
