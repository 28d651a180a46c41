"""Batches of transitions: where they come from, and what is estimated from them."""
