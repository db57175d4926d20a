"""Measure the misfit between predicted and observed data: one file for each misfit, all of them in `MISFITS`."""

from surrogate.inversion.misfits.registry import MISFITS as MISFITS
