"""Invert data for a velocity model by gradient descent."""
