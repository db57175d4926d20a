"""Building blocks of the families of velocity models."""
