"""Environments that Gymnasium has, and how they are fed to the core."""
