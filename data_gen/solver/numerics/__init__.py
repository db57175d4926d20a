"""Finite-difference coefficients, resampling, absorbing layers, and media on a coarser grid."""
