"""Provide the building blocks of the families of velocity models."""
