"""Run the same solver on larger cells: an operator corrects its field, and has to beat it.

It is a setting of the solver: cells `ratio` times as large, differences of order 12, time steps at the CFL limit, no
temporal dispersion. Positions, wavelets and records stay on the grid and the time axis of the data.

Errors against the wave equation (solver/reference.py), snapshots / gathers: means over four samples of `data=reference`
(64 x 64 cells of 10 m, 15 Hz, 1500 to 4500 m/s), and over four of faulted layers of the same velocities:

    ratio                                            rough             faulted layers
    1, the data's order 8                            0.0004 / 0.0007   0.0005 / 0.0005
    1.33                                             0.0016 / 0.012    0.0055 / 0.009
    1.6                                              0.005 / 0.016     0.013 / 0.013
    1.8                                              0.013 / 0.019     0.021 / 0.015
    2, the default                                   0.027 / 0.044     0.026 / 0.034
    2.2                                              0.049 / 0.034     0.049 / 0.026

Processor time of a shot on a core of a shared Intel Xeon, as a part of that at ratio 1, alone / in batches of 8:
0.89 / 0.82 at ratio 1.6, 0.68 / 0.59 at 2 and 0.64 / 0.54 at 2.2; on 128 x 128 cells 0.66 / 0.64, 0.48 / 0.42 and
0.46 / 0.41.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.discretization import HALF_WIDTH, discretize
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import Records, simulate

RATIO = 2.0
ORDER = 12


def coarse_simulation(simulation: Simulation, ratio: float = RATIO) -> Simulation:
    """Describe the same simulation, solved on larger cells.

    Args:
        simulation: The simulation.
        ratio: Side of a cell of the solver, in cells of the grid.

    Returns:
        A simulation of the same records.

    Raises:
        InputError: If what is recorded lies outside the band in which temporal dispersion is undone.
    """
    return replace(
        simulation,
        internal_spacing=ratio * simulation.grid.spacing,
        order=ORDER,
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
        simulation = coarse_simulation(replace(self.spec.simulation, **recorded), self.ratio)
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
