"""Surrogates: join an encoding, an operator and a normalization to one model."""
