"""Write a velocity model as a function of the unknowns that an inversion changes."""
