"""Where the errors of time-harmonic fields are measured: away from the source, and from its rows and columns."""

import numpy as np

from benchmarks.harmonic_source import CROSS, masks
from data_gen.solver.problem.grid import Grid


def test_the_cross_of_a_source():
    """Five rows and columns on each side of the source's own are left out, and what is near the source in both."""
    grid = Grid((30, 40), 10.0)
    whole, off = masks(grid.centers, np.array([100.0, 200.0]), 10.0).values()
    assert not off[5:16].any() and not off[:, 15:26].any()
    assert off.sum() == (30 - 2 * CROSS - 1) * (40 - 2 * CROSS - 1) and (whole | ~off).all()
    z, x = np.indices((30, 40))
    np.testing.assert_array_equal(whole, np.hypot(z - 10, x - 20) >= 4.5)
