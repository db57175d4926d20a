"""Place sources and receivers on and off the grid: between grid points each is a windowed sinc along both axes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from data_gen.common.errors import InputError
from data_gen.solver.numerics.windowed_sinc import windowed_sinc
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation


class Survey(NamedTuple):
    """Describe the sources and receivers of all shots. It is a pytree: `vmap` and `grad` reach every leaf.

    Attributes:
        sources: Positions of the sources, as (z, x) [m]: `(n_shots, 2)` for one source in each shot, or
            `(n_shots, n_sources, 2)` for several that fire in one shot, whose fields add up.
        receivers: Positions of the receivers, as (z, x) [m]: `(n_receivers, 2)` for the same ones in every shot, or
            `(n_shots, n_receivers, 2)` for a spread that moves from shot to shot.
        wavelets: Time functions of the sources on the simulation's time axis, `(n_shots, nt)` or
            `(n_shots, n_sources, nt)`. A wavelet w is the source term `w(t) delta(x - x_s)`, see simulator.py.
    """

    sources: Float[Array, "n_shots ... 2"]
    receivers: Float[Array, "... n_receivers 2"]
    wavelets: Float[Array, "n_shots ... nt"]

    @property
    def n_shots(self) -> int:
        """Number of shots."""
        return self.sources.shape[0]

    @property
    def n_sources(self) -> int:
        """Number of sources in each shot."""
        return self.sources.shape[1] if self.sources.ndim == 3 else 1

    @property
    def n_receivers(self) -> int:
        """Number of receivers in each shot."""
        return self.receivers.shape[-2]

    @property
    def receiver_axis(self) -> int | None:
        """Axis of the receivers that `vmap` over shots maps; None where all shots have the same receivers."""
        return 0 if self.receivers.ndim == 3 else None

    def select(self, shots) -> "Survey":
        """Select some of the shots, such as a minibatch.

        Args:
            shots: Numbers `(n,)` of the shots.

        Returns:
            The survey of these shots.
        """
        (sources, receivers, wavelets), shots = map(jnp.asarray, self), jnp.asarray(shots)
        return Survey(sources[shots], receivers[shots] if receivers.ndim == 3 else receivers, wavelets[shots])

    def superpose(self, shots, factors) -> "Survey":
        """Fire several shots at once. As the wave equation is linear, their gathers add up.

        Args:
            shots: Numbers `(n, m)` of the shots that each new shot fires.
            factors: Factors `(n, m)` of their wavelets.

        Returns:
            The survey of the new shots, whose m sources (or more, if shots have several) fire at once.

        Raises:
            InputError: If each shot has receivers of its own.
        """
        if self.receivers.ndim == 3:
            raise InputError(
                "Shots that fire at once are recorded by the same receivers, but each shot has receivers of its own "
                f"(receivers have the shape {self.receivers.shape}). Give (n_receivers, 2) for all shots."
            )
        grouped, shots, factors = self.with_source_axis(), jnp.asarray(shots), jnp.asarray(factors)
        sources, wavelets = jnp.asarray(grouped.sources)[shots], jnp.asarray(grouped.wavelets)[shots]
        wavelets = factors[..., None, None] * wavelets
        return Survey(
            sources.reshape(len(shots), -1, 2),
            jnp.asarray(self.receivers),
            wavelets.reshape(len(shots), -1, wavelets.shape[-1]),
        )

    def with_source_axis(self) -> "Survey":
        """Write one source in each shot as a group of one, so that every survey has an axis of sources.

        Returns:
            The survey, with sources `(n_shots, n_sources, 2)` and wavelets `(n_shots, n_sources, nt)`.
        """
        if self.sources.ndim == 3:
            return self
        return self._replace(sources=self.sources[:, None], wavelets=self.wavelets[:, None])


def make_survey(sources, receivers, wavelet) -> Survey:
    """Make a survey from anything array-like.

    Args:
        sources: Positions of the sources, as (z, x) [m]: `(n_shots, 2)`, or `(n_shots, n_sources, 2)` for several
            sources that fire in one shot.
        receivers: Positions of the receivers, as (z, x) [m]: `(n_receivers, 2)` for all shots, or
            `(n_shots, n_receivers, 2)` for a spread that moves; an empty list records no gathers.
        wavelet: One wavelet `(nt,)` for all sources, or one for each source: `(n_shots, nt)`, or
            `(n_shots, n_sources, nt)` for several sources in a shot.

    Returns:
        The survey, in JAX's default floating-point type.

    Raises:
        InputError: If the shapes do not fit together, or an array holds anything but real numbers.
    """
    sources, receivers, wavelets = (
        jnp.asarray(real_array(values, name), dtype=float)
        for values, name in ((sources, "Sources"), (receivers, "Receivers"), (wavelet, "A wavelet"))
    )
    receivers = receivers.reshape(0, 2) if receivers.shape == (0,) else receivers
    check_points_shape(sources, "source")
    if wavelets.ndim == 1:
        wavelets = jnp.broadcast_to(wavelets, (*sources.shape[:-1], len(wavelets)))
    survey = Survey(sources, receivers, wavelets)
    check_survey_shapes(survey)
    return survey


def real_array(values, name: str) -> jax.Array | np.ndarray:
    """Read an array of real numbers.

    Args:
        values: Anything array-like; it may be traced.
        name: Its name in errors, which begins a sentence.

    Returns:
        The array, of a floating-point or integer type: NumPy's stay where they are.

    Raises:
        InputError: If it has other values, masked ones, or rows of different lengths, or is of a type that JAX does not
            have.
    """
    given = f"a {type(values).__name__}"
    try:
        array = values if isinstance(values, jax.Array | np.ndarray) else jnp.asarray(values)
        given = f"values of type {array.dtype}"
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(f"{name} must be an array of real numbers, with rows of one length, but got {given}.")
    if not array.dtype.isnative or array.dtype.itemsize > 8:
        raise InputError(f"{name} has values of type {array.dtype}, which JAX cannot take: use .astype(np.float32).")
    if np.ma.is_masked(array):
        raise InputError(f"{name} must have a number everywhere, but some are masked. Fill them in.")
    return array


def check_points_shape(points, what: str) -> None:
    """Check the shape of positions.

    Args:
        points: Positions `(n, 2)` or `(n_shots, n, 2)`.
        what: Name of a point in errors, such as "source".

    Raises:
        InputError: If they have another shape.
    """
    shape = np.shape(points)
    if len(shape) in (2, 3) and shape[-1] == 2:
        return
    if shape == (2,):
        remedy = f"Write a single {what} as [[z, x]]."
    elif len(shape) == 2 and shape[0] == 2:
        remedy = f"Transpose them: one {what} a row."
    else:
        remedy = "Give depth z and distance x in meters for each of them, and nothing else."
    raise InputError(f"Positions of {what}s must have the shape {_SHAPES[what]}, as (z, x), but have {shape}. {remedy}")


_SHAPES = {
    "source": "(n_shots, 2), or (n_shots, n_sources, 2) for several sources in a shot",
    "receiver": "(n_receivers, 2), or (n_shots, n_receivers, 2) for receivers of each shot",
}


def check_survey_shapes(survey: Survey, nt: int | None = None) -> None:
    """Check that the arrays of a survey hold real numbers and fit together; they may be traced.

    Args:
        survey: The survey.
        nt: Number of samples of a wavelet; None where no time axis is known.

    Raises:
        InputError: If they do not.
    """
    for name, values in zip(("Sources", "Receivers", "Wavelets"), survey, strict=True):
        real_array(values, name)
    sources, receivers, wavelets = map(np.shape, survey)
    check_points_shape(survey.sources, "source")
    check_points_shape(survey.receivers, "receiver")
    if 0 in sources:
        raise InputError(f"A survey needs at least one source in each shot, but its sources have the shape {sources}.")
    if len(receivers) == 3 and receivers[0] != sources[0]:
        raise InputError(
            f"Receivers of each shot need as many spreads as there are shots, but receivers have the shape {receivers} "
            f"(n_shots, n_receivers, 2) and sources {sources}: {sources[0]} shots. Give one spread for each shot, or "
            "(n_receivers, 2) for all."
        )
    samples = "nt" if nt is None else nt
    if wavelets[:-1] != sources[:-1] or not wavelets[-1:] or wavelets[-1] != (nt or wavelets[-1]):
        expected = ", ".join(map(str, (*sources[:-1], samples)))
        raise InputError(
            f"Wavelets must be sampled on the time axis, one for each source: expected the shape ({expected}) for "
            f"sources of shape {sources}, got {wavelets}. make_survey takes one wavelet ({samples},) for all sources, "
            "too."
        )


def surface_line(grid: Grid, depth: float, every: int = 1) -> np.ndarray:
    """Lay points out along the surface.

    Args:
        grid: The grid.
        depth: Depth of all points [m].
        every: Distance from one point to the next, in columns.

    Returns:
        Positions `(n, 2)`, as (z, x) [m], the first in the grid's first column.
    """
    x = np.arange(0, grid.shape[1], every) * grid.spacing
    return np.stack([np.full_like(x, depth), x], axis=1)


def _within(
    index: Int[Array, " k"], weights: Float[Array, " k"], size: int, free_surface: bool
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Take cells beyond an end of an axis of so many cells back to those that they are images of."""
    # Beyond a wall the field continues as its mirror image; beyond an absorbing layer there is no field.
    if free_surface:
        weights = weights * jnp.sign(index)
        index = jnp.abs(index)
    index = jnp.where(index < 0, -1 - index, index)
    index = jnp.where(index >= size, 2 * size - 1 - index, index)
    return index, weights


def point_cells(position: Float[Array, "2"], simulation: Simulation) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Find the cells that a point touches, and their weights.

    A point touches one cell if half_width is 0, and `(2 half_width)^2` cells otherwise. A free surface is the first
    row: the image above it has the opposite sign, and the row itself has weight zero.

    Args:
        position: Position (z, x) of the point [m].
        simulation: The simulation, for its grid, layers and half_width.

    Returns:
        Numbers `(k,)` of cells of the padded grid, counted row by row, and their weights `(k,)`.
    """
    top, _, left, _ = simulation.widths
    mz, mx = simulation.padded_shape
    along = jax.vmap(partial(windowed_sinc, half_width=simulation.half_width))
    (rows, columns), (row_weights, column_weights) = along(position / simulation.grid.spacing)
    rows, row_weights = _within(rows + top, row_weights, mz, simulation.free_surface)
    columns, column_weights = _within(columns + left, column_weights, mx, False)
    index = (rows[:, None] * mx + columns[None, :]).astype(jnp.int32)
    return index.ravel(), (row_weights[:, None] * column_weights[None, :]).ravel()


def locate(
    positions: Float[Array, "*points 2"], simulation: Simulation
) -> tuple[Int[Array, "*points k"], Float[Array, "*points k"]]:
    """Find the cells that points touch, and their weights; see `point_cells`.

    Args:
        positions: Positions (z, x) of the points `(..., 2)` [m].
        simulation: The simulation.

    Returns:
        Numbers of cells of the padded grid and their weights, `(..., k)`.
    """
    return jnp.vectorize(partial(point_cells, simulation=simulation), signature="(d)->(k),(k)")(positions)
