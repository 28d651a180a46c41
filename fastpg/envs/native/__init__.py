"""Environments that the compiled core has."""
