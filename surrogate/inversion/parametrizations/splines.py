"""Write a model as a cubic spline on a coarse grid, which has few unknowns and no detail finer than its knots.

    v_ij = g( sum_kl B_k(z_i) B_l(x_j) c_kl )

B are the cubic B-splines of equally spaced knots with the ends repeated (C. de Boor, A Practical Guide to Splines), g
an elementwise parametrization, by default the velocity itself. The splines are positive and add up to one, so that a
model keeps bounds that its coefficients keep. Cubic polynomials are splines; any other model becomes the nearest
spline, in least squares of the unknowns of g.
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.interpolate import BSpline

from data_gen.common.errors import InputError
from surrogate.inversion.parametrizations.base import ModelSpace
from surrogate.inversion.parametrizations.elementwise import Elementwise, Velocity

DEGREE = 3
PRECISION = lax.Precision.HIGHEST  # a GPU may multiply in TF32, whose ten bits are too few for a model


def spline_matrix(cells: int, spacing: float, knot_spacing: float) -> Float[np.ndarray, "n n_splines"]:
    """Evaluate the B-splines along one axis at the centers of the cells.

    Args:
        cells: Number of cells.
        spacing: Side of a cell [m].
        knot_spacing: Distance of the knots [m]; it is changed so that a whole number of intervals fits.

    Returns:
        Values of the splines `(cells, n_splines)`.

    Raises:
        InputError: If there are more splines than cells.
    """
    length = (cells - 1) * spacing
    intervals = max(1, round(length / knot_spacing)) if knot_spacing > 0 else cells
    if intervals + DEGREE > cells:
        raise InputError(
            f"Knots {knot_spacing:g} m apart make {intervals + DEGREE} splines along a side of {cells} cells of "
            f"{spacing:g} m, which are more than its cells can tell apart. Take knots farther apart."
        )
    ends = np.zeros(DEGREE)
    knots = np.concatenate([ends, np.linspace(0, intervals, intervals + 1), ends + intervals])
    points = np.linspace(0, intervals, cells)
    return BSpline.design_matrix(points, knots, DEGREE).toarray()


@dataclass(frozen=True, eq=False)
class SplineGrid:
    """Take the coefficients `(n_splines_z, n_splines_x)` of a bicubic spline for the unknowns; see the module.

    Attributes:
        rows: Splines along depth at the rows of the model `(nz, n_splines_z)`.
        columns: Splines along x at its columns `(nx, n_splines_x)`.
        inner: Parametrization whose unknowns are the spline.
    """

    rows: Float[np.ndarray, "nz n_splines_z"]
    columns: Float[np.ndarray, "nx n_splines_x"]
    inner: Elementwise = field(default_factory=Velocity)

    @classmethod
    def create(cls, space: ModelSpace, *, knot_spacing: float, inner: Elementwise | None = None) -> "SplineGrid":
        """Make the splines of an inversion.

        Args:
            space: Models of the inversion.
            knot_spacing: Distance of the knots [m].
            inner: Parametrization whose unknowns are the spline; None takes the velocity.

        Returns:
            The parametrization.

        Raises:
            InputError: If there are more splines than cells.
        """
        rows, columns = (spline_matrix(cells, space.spacing, knot_spacing) for cells in space.start.shape)
        return cls(rows, columns, Velocity() if inner is None else inner)

    def to_velocity(self, unknown: Float[Array, "n_splines_z n_splines_x"]) -> Float[Array, "nz nx"]:
        """See `Parametrization.to_velocity`."""
        return self.inner.to_velocity(_product(self.rows, unknown, self.columns.T))

    def to_unknown(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_splines_z n_splines_x"]:
        """See `Parametrization.to_unknown`."""
        model = self.inner.to_unknown(velocity)
        # The splines add up to one: a constant is left out and added again, so that float32 is exact enough.
        mean = jnp.mean(model)
        return mean + _product(np.linalg.pinv(self.rows), model - mean, np.linalg.pinv(self.columns).T)

    def bounds(
        self, low: Float[Array, "nz nx"], high: Float[Array, "nz nx"]
    ) -> tuple[Float[Array, "n_splines_z n_splines_x"], Float[Array, "n_splines_z n_splines_x"]]:
        """See `Parametrization.bounds`. A coefficient keeps the narrowest bounds of all free cells that it reaches."""
        free = low < high
        lowest, highest = self.inner.bounds(low, high)
        # Cells that are held fixed must not narrow the bounds of others.
        lowest = jnp.where(free, lowest, jnp.min(jnp.where(free, lowest, jnp.inf)))
        highest = jnp.where(free, highest, jnp.max(jnp.where(free, highest, -jnp.inf)))
        return self._largest(lowest), -self._largest(-highest)

    def _largest(self, model: Array) -> Array:
        """Find the largest value among the cells that each coefficient reaches."""
        along = jnp.max(jnp.where(self.rows.T[:, :, None] > 0, model, -jnp.inf), axis=1)
        return jnp.max(jnp.where(self.columns.T > 0, along[:, None], -jnp.inf), axis=-1)


def _product(left: np.ndarray, middle: Array, right: np.ndarray) -> Array:
    """Multiply three matrices, in the type of the middle one."""
    left_, right_ = (jnp.asarray(matrix, middle.dtype) for matrix in (left, right))
    return jnp.matmul(jnp.matmul(left_, middle, precision=PRECISION), right_, precision=PRECISION)
