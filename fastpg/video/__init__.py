"""Episodes as pictures that move."""
