"""Layers that the operators are built from."""
