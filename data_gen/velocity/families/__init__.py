"""Families of velocity models, one file each."""
