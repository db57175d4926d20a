"""Describe the static part of a simulation, which decides the compiled program."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.plain import flag, real, reals, settle, whole, wholes
from data_gen.solver.numerics import stencils, temporal_dispersion
from data_gen.solver.numerics.resampling import substeps
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis, milliseconds_meant

# No medium that is simulated is slower [m/s], and none is as fast in km/s.
SLOWEST_MEANT = 20.0
# No wave is sampled by as many cells, and with a spacing in km each is [cells a wavelength].
FINEST_MEANT = 1000.0
DEFAULT_MEMORY = Memory()
BACKENDS = ("auto", "native", "xla")
MEDIA = ("cells", "samples")

# A Ricker wavelet's amplitude falls below 5 % of its peak at about 2.5 times its peak frequency.
HIGHEST_FREQUENCY = 2.5  # in peak frequencies

# The part of a cache that one core can count on: 4 to 8 MB did equally well on a last-level cache of 32 MB (measured).
CACHE_BYTES = 6e6

LARGEST_GRID = 2**31  # cells are numbered in int32

# The internal time step, as a part of the CFL limit where nothing else bounds it.
PART_OF_LIMIT = 0.97
# A model that is cut off at the grid's limit overshoots: its velocity is kept below this part of the largest one.
OVERSHOOT = 1.05
# The same for a density that follows the velocity, as Gardner's does: how much faster the shortest waves can be.
DENSE_MARGIN = 1.1


@dataclass(frozen=True)
class Simulation:
    """Describe everything static about a simulation; it is hashable, and each value has its own compiled program.

    Records, positions, wavelets and models are on `grid` and `time`. The solver has a time step of its own and, with
    `internal_spacing`, a grid of its own (discretization.py).

    Attributes:
        grid: The grid of the velocity models, without absorbing layers.
        time: The time axis of wavelets and gathers.
        max_velocity: Largest velocity of any model that is used with it [m/s]. It sets the CFL limit and the
            strength of the absorbing layers.
        peak_frequency: Peak frequency of the wavelets [Hz]. It tunes the absorbing layers, the checks of sampling and
            the band in which temporal dispersion is undone: up to 4 peak frequencies.
        order: Order of the differences in space: 2, 4, 6, 8, 10 or 12.
        widths: Cells of the absorbing layers at the (top, bottom, left, right), on `grid`; 0 makes a rigid wall.
        snapshot_steps: Ascending samples of the time axis at which the whole field is kept; none by default.
        half_width: Half the width, in cells, of the windowed sinc that places sources and receivers between cells; 0,
            the default, demands points at cell centers, 4 is a good choice otherwise.
        substeps: Internal time steps for each sample of `time` without the correction; wavelets and gathers are
            resampled. `substeps_for` computes the fewest that are stable.
        free_surface: Whether the pressure is zero along the first row; this needs `widths[0] = 0`.
        frequencies: Frequencies of the time-harmonic fields that are recorded [Hz]; none by default.
        memory: How the gradient gets the fields of past steps: keep or compute again; it recomputes by default.
        backend: "native" is compiled C++ on a CPU, "xla" runs everywhere, "auto" takes "native" where it can.
        time_correction: Whether the temporal dispersion of the leap-frog is undone (temporal_dispersion.py), by
            default; False is the bare leap-frog, in steps of `time.dt / substeps`.
        time_step: Internal time step with the correction [s]; None, the default, takes 0.97 of the CFL limit.
        medium: Meaning of a model's numbers: "cells", the default, are constant cells, whose series is cut off at
            the grid's limit; "samples" are the values of a band-limited function at the cells' centers.
        internal_spacing: Side of a cell of the solver's own grid [m]; None, the default, takes that of `grid`.
        kappa: End of the band of k h in which their weights are best, at constant density; 0, the default, takes the
            weights of Taylor's series. About 2 pi 1.6 peak_frequency h / (slowest velocity) is best for order 8.
        record_layers: Whether recorded fields include the absorbing layers.
        staggered: Whether the medium has a density model; `simulate` sets it.

    Raises:
        InputError: If a number has no plain value, the order, medium or backend is unknown, the time step is over the
            CFL limit, a unit cannot be meant, or steps or frequencies lie outside the time axis or its band.
    """

    grid: Grid
    time: TimeAxis
    max_velocity: float
    peak_frequency: float
    order: int = 4
    widths: tuple[int, int, int, int] = (20, 20, 20, 20)
    snapshot_steps: tuple[int, ...] = ()
    half_width: int = 0
    substeps: int = 1
    free_surface: bool = False
    frequencies: tuple[float, ...] = ()
    memory: Memory = DEFAULT_MEMORY
    backend: str = "auto"
    time_correction: bool = True
    time_step: float | None = None
    medium: str = "cells"
    internal_spacing: float | None = None
    kappa: float = 0.0
    record_layers: bool = False
    staggered: bool = False

    def __post_init__(self):
        for name, kind in (("grid", Grid), ("time", TimeAxis), ("memory", Memory)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name} must be a {kind.__name__}, but is {getattr(self, name)!r}.")
        settle(self, dict.fromkeys(("max_velocity", "peak_frequency", "kappa"), real))
        settle(self, dict.fromkeys(("order", "half_width", "substeps"), whole))
        settle(self, {"widths": wholes, "snapshot_steps": wholes, "frequencies": reals})
        settle(self, dict.fromkeys(("time_correction", "free_surface", "record_layers"), flag))
        for name in ("time_step", "internal_spacing"):
            if getattr(self, name) is not None:
                settle(self, {name: real})
        if self.order not in stencils.ORDERS:
            raise InputError(f"The order in space must be one of {stencils.ORDERS}, but got {self.order}.")
        if not 0 <= self.kappa < np.pi:
            raise InputError(f"kappa is a band of k h, from 0 to below pi, but is {self.kappa}.")
        if len(self.widths) != 4 or min(self.widths) < 0:
            raise InputError(
                f"The absorbing widths must be four cell counts (top, bottom, left, right), 0 for a rigid wall, "
                f"but got {self.widths}."
            )
        if not (self.max_velocity > 0 and self.peak_frequency > 0):
            raise InputError(
                f"The largest velocity [m/s] and the peak frequency [Hz] must be positive, but are "
                f"{self.max_velocity} and {self.peak_frequency}."
            )
        if np.prod(self.padded_shape, dtype=float) >= LARGEST_GRID:
            raise InputError(
                f"The grid {self.grid.shape} with its absorbing layers has more than the {LARGEST_GRID:,} cells that "
                "can be numbered in 32 bits. Take fewer cells."
            )
        check_units(self)
        check_reach(self)
        if self.medium not in MEDIA:
            raise InputError(f"The medium must be one of {MEDIA}, but got {self.medium!r}.")
        check_time_step(self)
        if self.half_width < 0:
            raise InputError(f"half_width counts cells, 0 for points on cell centers, but is {self.half_width}.")
        if self.backend not in BACKENDS:
            raise InputError(f"The backend must be one of {BACKENDS}, but got {self.backend!r}.")
        if self.free_surface and self.widths[0]:
            raise InputError(
                f"A free surface takes the place of the absorbing layer on top, but widths[0] is {self.widths[0]}. "
                "Set it to 0."
            )
        steps = self.snapshot_steps
        if list(steps) != sorted(set(steps)) or (steps and not 0 <= steps[0] <= steps[-1] < self.time.nt):
            raise InputError(
                f"Snapshot steps must ascend within 0 .. {self.time.nt - 1}, but got {steps}. "
                "Divide the snapshot times by dt, or lengthen the time axis."
            )
        limit, bound = 0.5 / self.step_length, f"the Nyquist frequency of the internal time step {self.step_length:g} s"
        if self.time_correction and temporal_dispersion.BAND * self.peak_frequency < limit:
            limit = temporal_dispersion.BAND * self.peak_frequency
            bound = f"{temporal_dispersion.BAND:g} peak frequencies, up to which temporal dispersion is undone"
        if not all(0 < frequency < limit for frequency in self.frequencies):
            raise InputError(
                f"The frequencies of time-harmonic fields must lie between zero and {limit:g} Hz ({bound}), but are "
                f"{self.frequencies}. Give them in Hz, or raise peak_frequency to that of the wavelets."
            )
        check_cfl(self, self.fastest)

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Shape `(mz, mx)` of the computed field, absorbing cells included."""
        (nz, nx), (top, bottom, left, right) = self.grid.shape, self.widths
        return nz + top + bottom, nx + left + right

    @property
    def field_shape(self) -> tuple[int, int]:
        """Shape of recorded fields."""
        return self.padded_shape if self.record_layers else self.grid.shape

    @property
    def field_origin(self) -> tuple[int, int]:
        """Row and column of the computed field at which recorded fields begin."""
        top, _, left, _ = self.widths
        return (0, 0) if self.record_layers else (top, left)

    @property
    def solved_spacing(self) -> float:
        """Side of a cell of the solver's grid [m]."""
        return self.grid.spacing if self.internal_spacing is None else self.internal_spacing

    @property
    def projects(self) -> bool:
        """Whether models are put on the solver's grid by their series, not taken as they are."""
        return self.medium == "cells" or self.internal_spacing is not None

    @property
    def fastest(self) -> float:
        """Largest velocity on the solver's grid [m/s]."""
        return self.max_velocity * (OVERSHOOT if self.projects else 1)

    def stable_step(self, velocity: float) -> float:
        """Compute the largest stable time step on the solver's grid.

        Args:
            velocity: Largest velocity there [m/s].

        Returns:
            The step at constant density or, if `staggered`, for a smooth density [s].
        """
        spacing, options = self.solved_spacing, {"staggered": self.staggered, "kappa": self.kappa}
        return stencils.largest_stable_step(self.order, spacing, velocity, **options)

    @property
    def step_length(self) -> float:
        """Internal time step [s]."""
        if not self.time_correction:
            return self.time.dt / self.substeps
        if self.time_step is not None:
            return self.time_step
        # A density that jumps makes waves of the shortest lengths faster.
        part = PART_OF_LIMIT / (DENSE_MARGIN if self.staggered else 1)
        return min(part * self.stable_step(self.fastest), temporal_dispersion.LONGEST_STEP / self.peak_frequency)

    @property
    def steps(self) -> int:
        """Internal time steps: everything that is recorded is read from the field after 0 to `steps - 1` of them."""
        if not self.time_correction:
            return (self.time.nt - 1) * self.substeps + 1
        duration = (self.time.nt - 1) * self.time.dt
        return temporal_dispersion.steps_needed(duration, self.step_length, self.peak_frequency)

    @property
    def gather_stride(self) -> int:
        """Internal steps from one at which the receivers are read to the next."""
        if not self.time_correction:
            # The field of a band-limited wavelet is band-limited: taking every n-th step folds nothing back.
            return self.substeps
        return temporal_dispersion.read_stride(self.step_length, self.peak_frequency)

    @property
    def gather_steps(self) -> int:
        """Number of internal steps at which the receivers are read."""
        return -(-self.steps // self.gather_stride)

    @property
    def recompute_interval(self) -> int:
        """Steps between two kept states of the strategy `recompute`: `memory.every`, or the fastest number.

        The fastest number is the one that minimizes memory (kept states plus one interval's fields), or less, since
        an interval that stays in a cache is written and read back sooner. It is not below 2 / 5 of the optimum, which
        costs 1.45 times the optimum's memory.
        """
        # A state is two fields and the layers' memory: about three times one interval step's single field.
        optimum = sqrt(3 * self.steps)
        mz, mx = self.padded_shape
        chosen = min(optimum, max(CACHE_BYTES / (4 * mz * mx), 0.4 * optimum))
        # Even, as the scan does two steps at a time and would copy what an odd number leaves.
        return min(self.steps, self.memory.every or 2 * ceil(chosen / 2))

    @property
    def snapshot_times(self) -> np.ndarray:
        """Times of the snapshots [s]."""
        return np.array(self.snapshot_steps) * self.time.dt

    @property
    def highest_frequency(self) -> float:
        """Highest frequency of the wavelets [Hz]: 2.5 peak frequencies, where a Ricker wavelet has 5 % of its peak."""
        return HIGHEST_FREQUENCY * self.peak_frequency

    def points_per_wavelength(self, slowest: float) -> float:
        """Count the solver's cells in the shortest wavelength, which is that of the highest frequency.

        Args:
            slowest: Smallest velocity of the model [m/s].

        Returns:
            Cells per wavelength.
        """
        return slowest / (self.highest_frequency * self.solved_spacing)


def field_dtype(model: Any) -> np.dtype:
    """Choose the floating-point type of the fields for a model: half precision has too few digits for a time loop.

    Args:
        model: A model, or its type.

    Returns:
        float32 or float64: the model's own, float32 for half precision, and JAX's default for integers.
    """
    # `result_type` would widen the weakly typed array that `jnp.full(shape, 2500.0)` is; its own type counts.
    dtype = jnp.dtype(model if isinstance(model, str | type | np.dtype) else model.dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.dtype(float)
    return jax.dtypes.canonicalize_dtype(dtype if dtype.itemsize >= 4 else np.float32)


def substeps_for(grid: Grid, time: TimeAxis, max_velocity: float, order: int = 4, *, staggered: bool = False) -> int:
    """Find the fewest internal steps for each sample that are stable.

    Args:
        grid: The grid.
        time: The time axis.
        max_velocity: Largest velocity [m/s].
        order: Order of the differences in space.
        staggered: Whether the medium has a density model.

    Returns:
        A value for `Simulation.substeps`.

    Raises:
        InputError: If the largest velocity is not positive and finite.
    """
    return substeps(time.dt, stencils.largest_stable_step(order, grid.spacing, max_velocity, staggered=staggered))


def check_units(simulation: Simulation) -> None:
    """Refuse numbers that can only be meant in another unit.

    Args:
        simulation: The simulation.

    Raises:
        InputError: If velocities are in km/s, the spacing is in km, or the time step resolves no wavelet of the peak
            frequency.
    """
    fastest, peak, dt = simulation.max_velocity, simulation.peak_frequency, simulation.time.dt
    spacing = simulation.grid.spacing
    if fastest < SLOWEST_MEANT:
        raise InputError(f"max_velocity = {fastest:g} looks like km/s. Meters per second are meant: multiply by 1000.")
    if peak >= 0.5 / dt:
        raise InputError(
            f"A peak frequency of {peak:g} Hz is not below the Nyquist frequency of {0.5 / dt:g} Hz of dt = {dt:g} s."
            f"{milliseconds_meant(dt, peak)} Shorten dt, or lower the peak frequency."
        )
    if spacing < 1 and fastest > FINEST_MEANT * spacing * peak:
        raise InputError(
            f"A wave of {peak:g} Hz at max_velocity = {fastest:g} m/s is {fastest / (peak * spacing):.3g} cells of "
            f"{spacing:g} m long, which looks like a spacing in kilometers. Meters are meant: multiply it by 1000."
        )


def check_time_step(simulation: Simulation) -> None:
    """Check that the internal time step is given in one way, and that undoing its dispersion is possible.

    Args:
        simulation: The simulation.

    Raises:
        InputError: If not.
    """
    corrected, substeps, step = simulation.time_correction, simulation.substeps, simulation.time_step
    if substeps < 1:
        raise InputError(f"A sample takes at least one internal step, but substeps={substeps}.")
    if corrected and substeps > 1:
        raise InputError(
            f"With time_correction the solver chooses its own time step, but substeps={substeps}. Leave substeps out, "
            "set time_step [s], or set time_correction=False for the bare leap-frog."
        )
    if not corrected and step is not None:
        raise InputError(
            f"time_step={step:g} needs time_correction=True: the bare leap-frog steps by dt / substeps. Leave it out."
        )
    longest = temporal_dispersion.LONGEST_STEP / simulation.peak_frequency
    if step is not None and not 0 < step <= longest:
        raise InputError(
            f"The internal time step must be positive and at most {longest:.4g} s, so that the frequencies of a "
            f"wavelet of {simulation.peak_frequency:g} Hz are stepped at all, but time_step={step:g} s. Leave it out "
            "to take 0.97 of the CFL limit."
        )
    spacing = simulation.internal_spacing
    if spacing is not None and not 0 < spacing < np.inf:
        raise InputError(f"internal_spacing must be a positive length in meters, but is {spacing}.")


def check_reach(simulation: Simulation, *, staggered: bool = False) -> None:
    """Check that the grid has as many cells as the stencil and the points' sinc reach.

    Args:
        simulation: The simulation.
        staggered: Whether the medium has a density model.

    Raises:
        InputError: If the grid is too small.
    """
    order, (nz, nx), (mz, mx) = simulation.order, simulation.grid.shape, simulation.padded_shape
    (top, bottom, left, right), half = simulation.widths, simulation.order // 2
    reach = order - 1 if staggered else half
    # A wall continues the field by its mirror image, a free surface by that of the rows below the first.
    deep = mz >= (reach + simulation.free_surface if 0 in (top, bottom) else half)
    wide = mx >= (reach if 0 in (left, right) else half)
    if not (deep and wide and half <= min(nz, nx)):
        medium = " with a density model" if staggered else ""
        raise InputError(
            f"Order {order}{medium} needs more cells than the grid {(nz, nx)} has: its stencil reaches {reach} cells "
            "beyond walls and free surfaces. Lower the order, or enlarge the grid."
        )
    if simulation.half_width > min(mz, mx):
        raise InputError(
            f"half_width={simulation.half_width} makes points wider than the grid of {(mz, mx)} cells, layers "
            "included. Set half_width=4."
        )


def check_cfl(simulation: Simulation, velocity: float) -> None:
    """Check that the internal time step is stable.

    Args:
        simulation: The simulation.
        velocity: Largest velocity on the solver's grid [m/s].

    Raises:
        InputError: If the time step is over the CFL limit.
    """
    spacing, dt, order = simulation.solved_spacing, simulation.step_length, simulation.order
    largest = simulation.stable_step(velocity)
    if dt <= largest:
        return
    why = ""
    if simulation.projects and velocity == simulation.fastest:
        why = (
            f" (max_velocity = {simulation.max_velocity:g} m/s times {OVERSHOOT:g}, as a model overshoots where it is "
            "cut off at the grid's limit)"
        )
    text = (
        f"The time step is over the CFL limit: dt = {dt:g} s with a spacing of {spacing:g} m and a largest "
        f"velocity of {velocity:g} m/s{why}, but order {order} is stable up to dt = {largest:.4g} s. "
    )
    if simulation.time_step is not None:
        raise InputError(f"{text}Set time_step={PART_OF_LIMIT * largest:.4g}, or leave it out: the solver chooses it.")
    if simulation.time_correction:
        raise InputError(
            f"{text}Raise max_velocity, which is {simulation.max_velocity:g} m/s and sets the time step, to that of "
            "the model, or check the units of the velocity."
        )
    meant = milliseconds_meant(simulation.time.dt, simulation.peak_frequency)
    raise InputError(
        f"{text}Shorten dt, take substeps={substeps(simulation.time.dt, largest)} internal steps per sample, coarsen "
        f"the grid, or check the units of the velocity.{meant}"
    )
