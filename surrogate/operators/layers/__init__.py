"""Layers of the operators."""
