"""Run the same solver on larger cells: an operator corrects its field, and has to beat it.

It is a setting of the solver: cells `ratio` times as large, differences whose weights are best for the waves on
them, time steps at the CFL limit, no temporal dispersion. Positions, wavelets and records stay on the grid and the time
axis of the data.

Errors against the wave equation, snapshots / gathers (`python -m benchmarks.coarse`: means over the first four test
samples of `data=reference`, 64 x 64 cells of 10 m, 15 Hz, 1500 to 4500 m/s, and of the same with faulted layers), and
the CPU time of a shot over that of the bare leap-frog:

    ratio                      rough                  faulted layers
    the bare leap-frog         0.0119 / 0.0084  1     0.0061 / 0.0055  1
    1, the data's own solver   0.0008 / 0.0006  0.80  0.0003 / 0.0002  0.79
    1.33                       0.0027 / 0.0022  0.54  0.0015 / 0.0011  0.54
    1.6                        0.0100 / 0.0079  0.39  0.0047 / 0.0037  0.35
    1.8                        0.0214 / 0.0155  0.34  0.0086 / 0.0069  0.31
    2, the default             0.0393 / 0.0265  0.28  0.0171 / 0.0153  0.24
    2.2                        0.0671 / 0.0471  0.26  0.0282 / 0.0234  0.24

On 128 x 128 cells, where waves go twice as far, ratio 2 errs by 0.052 / 0.036 and 0.026 / 0.014 at 0.19 and 0.21 of the
time; on 256 x 256, ratio 1.8 by 0.043 / 0.018 and 0.019 / 0.008 at 0.19.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.accuracy import best_kappa
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.discretization import HALF_WIDTH, discretize
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import Records, simulate

RATIO = 2.0
ORDER = 8


def coarse_simulation(simulation: Simulation, slowest: float, ratio: float = RATIO) -> Simulation:
    """Describe the same simulation, solved on larger cells.

    Args:
        simulation: The simulation.
        slowest: Smallest velocity of the models [m/s].
        ratio: Side of a cell of the solver, in cells of the grid.

    Returns:
        A simulation of the same records.

    Raises:
        InputError: If what is recorded lies outside the band in which temporal dispersion is undone.
    """
    spacing = ratio * simulation.grid.spacing
    return replace(
        simulation,
        internal_spacing=spacing,
        order=ORDER,
        kappa=best_kappa(ORDER, spacing, slowest, simulation.peak_frequency),
        time_correction=True,
        time_step=None,
        substeps=1,
        half_width=simulation.half_width or HALF_WIDTH,
    )


@dataclass(frozen=True)
class CoarseSolver:
    """Simulate a shot on larger cells; differentiable by the velocity.

    Attributes:
        spec: Description of the data set.
        ratio: Side of a cell of the solver, in cells of the data's grid.
        snapshot_steps: Samples of the data's time axis at which the whole field is recorded.
        frequencies: Frequencies of the time-harmonic fields that are recorded [Hz].
    """

    spec: DataSpec
    ratio: float = RATIO
    snapshot_steps: tuple[int, ...] = ()
    frequencies: tuple[float, ...] = ()

    @cached_property
    def simulation(self) -> Simulation:
        """The simulation; raises `InputError` where the data have no such cells."""
        recorded = {"snapshot_steps": self.snapshot_steps, "frequencies": self.frequencies}
        simulation = coarse_simulation(replace(self.spec.simulation, **recorded), self.spec.slowest, self.ratio)
        discretize(simulation, staggered=self.spec.gardner)
        return simulation

    @cached_property
    def reason_against(self) -> str:
        """Why it cannot simulate these data, and a remedy; empty if it can."""
        try:
            _ = self.simulation
        except InputError as error:
            return str(error)
        return ""

    def __call__(
        self,
        velocity: Float[Array, "nz nx"],
        source: Float[Array, "2"],
        receivers: Float[Array, "n 2"] | None = None,
    ) -> Records:
        """Simulate one shot.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].
            receivers: Positions `(n, 2)` [m]; None for no receivers.

        Returns:
            Records of the one shot.
        """
        dtype = velocity.dtype
        points = jnp.zeros((0, 2), dtype) if receivers is None else receivers
        survey = Survey(source.astype(dtype)[None], points, jnp.asarray(self.spec.wavelet, dtype)[None])
        return simulate(velocity, survey, self.simulation, density=self.spec.density(velocity))


def refuse_coarse(reason: str, ratio: float) -> None:
    """Refuse the coarse encoding for data that the coarse solver cannot simulate.

    Args:
        reason: Reason and remedy; empty if it can.
        ratio: The encoding's ratio.

    Raises:
        InputError: If there is a reason; the message names the encodings that need no coarse solver.
    """
    if reason:
        raise InputError(
            f"encoding=coarse cannot be had for these data with encoding.ratio={ratio:g}, which times the data's "
            f"spacing is internal_spacing. {reason} encoding=source_map and encoding=background need no coarse solver."
        )
