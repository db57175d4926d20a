"""Find why an inversion's result is poor: what is wrong with the data, the wavelet, the start or the gradient."""
