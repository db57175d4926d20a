"""Measure how far a velocity model is from what is known beforehand, free of the grid."""
