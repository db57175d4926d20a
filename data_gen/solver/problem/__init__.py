"""Describe what is simulated: grid, time axis, survey, wavelets, settings, and their checks."""
