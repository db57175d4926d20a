"""Surrogates: an encoding, an operator and a normalization as one model."""
