"""Fit, evaluate, load and export runs; alone knows the folder of a run."""
