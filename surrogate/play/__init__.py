"""Show a surrogate, the coarse solver and the solver next to each other on a local page (`wave play`)."""
