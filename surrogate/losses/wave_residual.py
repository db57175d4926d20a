"""Compute the residual of the wave equation at constant density, of a predicted field.

    snapshots   r = c p_tt - lap p,            p_tt ~ (p(t + D) - 2 p(t) + p(t - D)) / D^2
    harmonic    r = -c u - lap u / (2 pi f)^2, so that every frequency counts as its field does

    e = ||r(prediction)|| / ||inertia(data)||,    inertia the term without space derivatives

c is what the solver's grid holds of 1 / v^2 (problem/medium.py), and the Laplacian is the solver's own, so its
snapshots leave only what differences in time do: a wave of angular frequency omega has its second derivative scaled
by (sin(x) / x)^2, x = omega D / 2, an error of (omega D)^2 / 12. Snapshots are refused unless omega D <= 1 at the
highest frequency of the wavelet, where that is 8 %; at its peak frequency it then is 1.3 %. Data that were solved on
cells of another size leave in addition what the differences on the data's cells err by. Left out are cells within the
stencil's reach of the grid's sides, beyond which it would need the absorbing layer, and cells of the source, which
the residual does not hold. The first steps of a propagator follow from the state that it is given, so its residual
begins with that state.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.numerics import stencils
from data_gen.solver.problem.medium import projected_compressibility
from surrogate.losses.terms import Judged, Term, relative, squares
from surrogate.protocols import Batch, Task

Inner = Float[Array, "*rest mz mx"]  # without order / 2 cells on each side


def laplacian(field: Float[Array, "*rest nz nx"], spacing: float, order: int) -> Inner:
    """Apply the solver's Laplacian where the whole stencil fits.

    Args:
        field: Field `(..., nz, nx)`.
        spacing: Spacing of the grid [m].
        order: Order of the differences.

    Returns:
        Laplacian `(..., nz - order, nx - order)` [1/m^2].
    """
    along_x = stencils.second_derivative(inner(field, order, (-2,)), field.ndim - 1, order, spacing)
    along_z = stencils.second_derivative(inner(field, order, (-1,)), field.ndim - 2, order, spacing)
    return along_x + along_z


def inner(field: jax.Array, order: int, axes: tuple[int, ...] = (-2, -1)) -> jax.Array:
    """Leave out the order / 2 outermost cells.

    Args:
        field: Field `(..., nz, nx)`.
        order: Order of the differences.
        axes: Axes along which cells are left out.

    Returns:
        The inner field.
    """
    for axis in axes:
        field = jax.lax.slice_in_dim(field, order // 2, field.shape[axis] - order // 2, axis=axis)
    return field


def wave_terms(
    snapshots: Float[Array, "n_snapshots nz nx"],
    compressibility: Float[Array, "nz nx"],
    *,
    interval: float,
    spacing: float,
    order: int,
) -> tuple[Inner, Inner]:
    """Compute c p_tt and the Laplacian of p at all snapshots but the first and the last.

    Args:
        snapshots: Pressure `(n_snapshots, nz, nx)` at times one interval apart.
        compressibility: c `(nz, nx)`, or 1 / v^2 [s^2/m^2].
        interval: Time between two snapshots [s].
        spacing: Spacing of the grid [m].
        order: Order of the differences in space.

    Returns:
        Inertia and Laplacian `(n_snapshots - 2, mz, mx)` [1/m^2].
    """
    before, now, after = snapshots[:-2], snapshots[1:-1], snapshots[2:]
    inertia = compressibility * (after - 2 * now + before) / interval**2
    return inner(inertia, order), laplacian(now, spacing, order)


def helmholtz_terms(
    field: Float[Array, "parts nz nx"],
    compressibility: Float[Array, "nz nx"],
    frequencies: Float[Array, "#parts 1 1"],
    *,
    spacing: float,
    order: int,
) -> tuple[Inner, Inner]:
    """Compute -(2 pi f)^2 c u and the Laplacian of u, for its real and its imaginary part alike.

    Args:
        field: Real and imaginary part of u at each frequency `(parts, nz, nx)`.
        compressibility: c `(nz, nx)`, or 1 / v^2 [s^2/m^2].
        frequencies: Frequency f of each part `(parts, 1, 1)`, or of all `(1, 1, 1)` [Hz].
        spacing: Spacing of the grid [m].
        order: Order of the differences.

    Returns:
        Inertia and Laplacian `(parts, mz, mx)` [1/m^2].
    """
    inertia = -((2 * jnp.pi * frequencies) ** 2) * compressibility * field
    return inner(inertia, order), laplacian(field, spacing, order)


def away_from(source: Float[Array, "2"], shape: tuple[int, int], *, spacing: float, order: int) -> Inner:
    """Mark cells that are further from the source than the stencil's reach.

    Args:
        source: Position `(2,)` [m].
        shape: Grid `(nz, nx)`.
        spacing: Spacing of the grid [m].
        order: Order of the differences.

    Returns:
        1 in such cells, 0 in the others `(mz, mx)`.
    """
    rows, columns = (jnp.abs(jnp.arange(n) - source[axis] / spacing) for axis, n in enumerate(shape))
    reach = order // 2
    return inner((rows[:, None] > reach) | (columns[None, :] > reach), order).astype(source.dtype)


def check_snapshots(spec: DataSpec) -> float:
    """Return the time between the snapshots.

    Args:
        spec: Description of the data set.

    Returns:
        Time [s].

    Raises:
        InputError: If the residual would say little: with snapshots that are few, unevenly spaced or too far apart.
    """
    simulation = spec.simulation
    highest = simulation.highest_frequency
    longest = 1 / (2 * np.pi * highest)
    gaps = np.diff(simulation.snapshot_times)
    if len(gaps) < 2 or not np.allclose(gaps, gaps[0], rtol=1e-6) or gaps[0] > longest:
        raise InputError(
            "The loss `residual` takes the second derivative in time from three or more snapshots that are evenly "
            f"spaced, at most {longest:.3g} s apart (2 pi f D <= 1 at the wavelets' highest frequency, {highest:g} "
            f"Hz), but they are at {np.round(simulation.snapshot_times, 6).tolist()} s. Set data.snapshot_times so, in "
            f"multiples of dt = {simulation.time.dt:g} s, or training.loss.residual=0."
        )
    return float(gaps[0])


def residual(task: Task) -> Term:
    """Make the term that is the norm of the residual of the prediction over that of the data's inertia.

    Args:
        task: Task that is trained.

    Returns:
        The term.

    Raises:
        InputError: If the prediction, or the density of the data, is not one that the equation holds for.
    """
    spec, simulation = task.spec, task.spec.simulation
    if spec.gardner:
        raise InputError(
            "The loss `residual` is that of the wave equation at constant density, but data.density=gardner. Set "
            "training.loss.residual=0, or data.density=none."
        )
    cells = {"spacing": simulation.grid.spacing, "order": simulation.order}
    held = partial(projected_compressibility, simulation=simulation)
    if task.equation == "wave":
        interval = check_snapshots(spec)

        def terms(field: jax.Array, example: Batch) -> tuple[Inner, Inner]:
            snapshots = jnp.concatenate([example["state"], field]) if "state" in example else field
            return wave_terms(snapshots, held(example["velocity"]), interval=interval, **cells)

    elif task.equation == "helmholtz":

        def terms(field: jax.Array, example: Batch) -> tuple[Inner, Inner]:
            frequencies = jnp.repeat(jnp.asarray(simulation.frequencies, field.dtype), 2)[:, None, None]
            found = helmholtz_terms(field, held(example["velocity"]), frequencies, **cells)
            inertia, curvature = (part / (2 * jnp.pi * frequencies) ** 2 for part in found)
            return inertia, curvature

    else:
        raise InputError(
            f"The loss `residual` is that of snapshots or time-harmonic fields, but this task predicts {task.target}. "
            "Set training.loss.residual=0."
        )

    def sample(prediction: jax.Array, target: jax.Array, example: Batch) -> tuple[Inner, Inner]:
        mask = away_from(example["source"], simulation.grid.shape, **cells)
        inertia, curvature = terms(prediction, example)
        scale, _ = terms(target, example)
        return mask * (inertia - curvature), mask * scale

    def term(judged: Judged) -> Float[Array, " batch"]:
        examples = {name: judged.batch[name] for name in (*task.inputs, "source")}
        left, scale = jax.vmap(sample)(judged.prediction, judged.target, examples)
        return relative(squares, left, scale)

    return term
