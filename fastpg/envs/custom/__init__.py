"""Environments of the user's own: arrays, compiled functions, shared libraries."""
