"""Compare directional derivatives of the operator with those of the solver: the Jacobian-informed loss.

    e = ||dS(v)[d] - dF(v)[d]|| / ||dF(v)[d]||,    dF(v)[d] = d/de F(v + e d) at e = 0

S the surrogate, F the solver, d smooth random directions of change of the velocity (velocity/directions.py). An
operator can be near in value and far in slope; inversion goes by the slope. One jvp of the solver costs about two
simulations: paid once for each sample where the data set has tangents (data.records=[snapshots,tangents]), else in
every step, but then along new directions each time.

Sources: T. O'Leary-Roseberry, P. Chen, U. Villa and O. Ghattas, "Derivative-informed neural operator", J. Comput. Phys.
496 (2024); J. Park and others, "Neural operators with accurate Jacobian for high-fidelity image-domain seismic
inversion" (SLIM, Georgia Tech, 2026): a ten-thousandth of the Jacobian's entries, supervised, is enough to help.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.losses.terms import Judged, Term, relative, squares
from surrogate.protocols import Batch, Method, ShotTask, Task

Directions = Float[Array, "batch n_directions nz nx"]
Tangents = Float[Array, "batch n_directions *target"]


def jacobian(task: Task, count: int) -> Term:
    """Make the term that is the relative L2 error of the tangents of each sample, averaged over its directions.

    Args:
        task: Task that is trained.
        count: Number of directions that are drawn where the batch brings none.

    Returns:
        The term.

    Raises:
        InputError: If the task does not read a velocity and a source. The state that a propagator starts from is
            given, while that of the solver depends on the velocity.
    """
    if not isinstance(task, ShotTask):
        raise InputError(
            "The loss `jacobian` compares derivatives by the velocity with those of the solver, which begins at a "
            f"source, but this task predicts {task.target} from {', '.join(task.inputs)}. Set training.loss.jacobian=0."
        )
    solver = task.methods()["solver"]

    def term(judged: Judged) -> Float[Array, " batch"]:
        batch = judged.batch
        if "tangents" in batch:
            direction, target = batch["direction"], batch["tangents"]
        else:
            direction = _draw(task, judged, count)
            target = _tangents(solver, batch, direction)
        predicted = _tangents(lambda batch: judged.predict(*(batch[name] for name in task.inputs)), batch, direction)
        many = target.shape[:2]
        predicted, target = (t.reshape(-1, *t.shape[2:]) for t in (predicted, target))
        return jnp.mean(relative(squares, predicted - target, target).reshape(many), axis=1)

    return term


def _draw(task: Task, judged: Judged, count: int) -> Directions:
    """Draw directions [m/s] for each sample, by the key of the step."""
    velocity = judged.batch["velocity"]
    keys = jax.random.split(judged.key, len(velocity))
    return jax.vmap(lambda key, velocity: task.spec.directions(key, velocity, count))(keys, velocity)


def _tangents(method: Method, batch: Batch, direction: Directions) -> Tangents:
    """Differentiate the predictions of a method by the velocity, along each direction."""

    def along(direction: jax.Array) -> jax.Array:
        return jax.jvp(lambda velocity: method({**batch, "velocity": velocity}), (batch["velocity"],), (direction,))[1]

    return jax.vmap(along, in_axes=1, out_axes=1)(direction)
