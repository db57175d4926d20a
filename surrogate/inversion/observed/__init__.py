"""Read recorded data and set up their inversion: gathers, positions, wavelet, grid and start; write the result."""
