"""Simulate the shots of a survey over devices and in groups: each device its own shots, a few of them at a time.

    d_s = F(m, q_s)                           one device, one group: every shot of the survey at once
    dJ/dm = sum over s of F_s'^T dJ/dd_s      the sum is one addition over groups and devices

Shots do not depend on one another, so nothing is sent before their gradients are added up. The model is on every
device, and records lie where their shots were simulated.

A device that has no memory for the past of all its shots takes them in groups, one after the other. A group keeps
nothing for the adjoint but the model, and is simulated again when its turn comes (checkpointing; A. Griewank, Optim.
Methods Softw. 1 (1992), 35-54): one more forward simulation for each shot, and the memory of one group.

All devices take equally many groups of equally many shots. The last shot is repeated where
some are missing, and its copies are left out of the records.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.plain import whole
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.checks import check_inputs
from data_gen.solver.problem.simulation import Simulation, field_dtype
from data_gen.solver.simulator import Records, simulate

AXIS = "shots"


def device_mesh(axis: str, devices=None) -> Mesh:
    """Make a mesh of one axis.

    Args:
        axis: Name of the axis.
        devices: The devices; None takes all, those of other processes too.

    Returns:
        The mesh.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (axis,), axis_types=(AxisType.Auto,), devices=devices)


def shot_mesh(devices=None) -> Mesh:
    """Make a mesh over which shots are split.

    Args:
        devices: The devices; None takes all, those of other processes too.

    Returns:
        A mesh for `simulate_shots`.
    """
    return device_mesh(AXIS, devices)


def shots_per_device(n_shots: int, mesh: Mesh | None) -> int:
    """Count the shots of one device.

    Args:
        n_shots: Number of shots of the survey.
        mesh: A mesh of `shot_mesh`; None for one device.

    Returns:
        The number of shots, rounded up.
    """
    return -(-n_shots // (1 if mesh is None else mesh.shape[AXIS]))


def check_split(n_shots: int, mesh: Mesh | None, at_once: int | None) -> None:
    """Check that shots can be split over a mesh and into groups.

    Args:
        n_shots: Number of shots of the survey.
        mesh: A mesh of `shot_mesh`; None for one device.
        at_once: Shots that a device simulates at once; None for all of its shots.

    Raises:
        InputError: If not.
    """
    if mesh is not None and AXIS not in mesh.shape:
        raise InputError(
            f"Shots are split over a mesh axis named {AXIS!r}, but this mesh has {tuple(mesh.shape)}. Make one by "
            "data_gen.solver.many_shots.shot_mesh()."
        )
    if mesh is not None and mesh.shape[AXIS] > n_shots:
        raise InputError(
            f"{n_shots} shots cannot be split over {mesh.shape[AXIS]} devices: some would have none. Take at most "
            f"{n_shots} devices, or more shots."
        )
    if at_once is not None and whole(at_once, "at_once") < 1:
        raise InputError(f"A device simulates at least one shot at once, but at_once = {at_once}.")


def _groups(shots: int, at_once: int | None) -> tuple[int, int]:
    """Divide the shots of a device evenly: the number of groups, and the shots of each."""
    count = -(-shots // min(at_once or shots, shots))
    return count, -(-shots // count)


def _simulate_groups(velocity, density, survey: Survey, simulation: Simulation, groups: int) -> Records:
    """Simulate the shots of one device, one group after the other."""

    def simulate_group(velocity, density, group: Survey) -> Records:
        return simulate(velocity, group, simulation, density=density)

    if groups == 1:
        return simulate_group(velocity, density, survey)
    shots = survey.n_shots
    # The loop over groups already keeps XLA from sharing what the two simulations of a group have in common.
    again = jax.checkpoint(simulate_group, prevent_cse=False)
    numbers = jnp.arange(shots).reshape(groups, -1)
    records = lax.map(lambda group: again(velocity, density, survey.select(group)), numbers)
    return jax.tree.map(lambda leaf: leaf.reshape(shots, *leaf.shape[2:]), records)


@partial(jax.jit, static_argnames=("simulation", "mesh", "at_once"))
def _simulate(
    velocity, density, survey: Survey, simulation: Simulation, mesh: Mesh | None, at_once: int | None
) -> Records:
    shots, devices = survey.n_shots, 1 if mesh is None else mesh.shape[AXIS]
    groups, size = _groups(shots_per_device(shots, mesh), at_once)
    survey = survey.select(np.minimum(np.arange(devices * groups * size), shots - 1))
    run = partial(_simulate_groups, simulation=simulation, groups=groups)
    if mesh is not None:
        shares = jax.tree.map(lambda leaf: P(AXIS), survey)
        shares = shares if survey.receiver_axis == 0 else shares._replace(receivers=P())
        run = jax.shard_map(
            run,
            mesh=mesh,
            in_specs=(P(), P(), shares),
            out_specs=P(AXIS),
            check_vma=False,  # the loops' fields start from zeros, which are the same on all devices
        )
    return jax.tree.map(lambda leaf: leaf[:shots], run(velocity, density, survey))


def simulate_shots(
    velocity: Float[Array, "nz nx"],
    survey: Survey,
    simulation: Simulation,
    *,
    density: Float[Array, "nz nx"] | None = None,
    mesh: Mesh | None = None,
    at_once: int | None = None,
) -> Records:
    """Simulate every shot with the shots split over devices and into groups: the numbers of `simulate`, to rounding.

    The function is pure, as `simulate` is, and has the same derivatives. Processes must call it together, with the same
    arguments. Where the shots divide evenly over the devices, the records stay split by shots; others are sent to
    every device.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: Sources, receivers and wavelets.
        simulation: The static part.
        density: Density model `(nz, nx)` [kg/m^3], or None for constant density.
        mesh: A mesh of `shot_mesh`; None for one device.
        at_once: Shots that a device simulates at once; None for all of its shots.

    Returns:
        The records of all shots.

    Raises:
        InputError: If an input cannot be used (see `check_split`, `check_inputs`).
    """
    check_split(survey.n_shots, mesh, at_once)
    if mesh is None and _groups(survey.n_shots, at_once)[0] == 1:
        return simulate(velocity, survey, simulation, density=density)
    check_inputs(velocity, survey, simulation, density)
    velocity = jnp.asarray(velocity)
    velocity = velocity.astype(field_dtype(velocity))
    density = None if density is None else jnp.asarray(density, velocity.dtype)
    return _simulate(velocity, density, survey, simulation, mesh, at_once)
