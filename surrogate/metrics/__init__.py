"""Measure the errors of predictions."""
