"""Repeat the time step, and differentiate the repetition."""
