"""Jacobian-informed loss: directional derivatives of the operator against those of the solver.

    e = ||dS(v)[d] - dF(v)[d]|| / ||dF(v)[d]||,    dF(v)[d] = d/de F(v + e d) at e = 0

S the surrogate, F the solver, d smooth random directions of change of the velocity (data_gen/tangents.py). An operator
can be near in value and far in slope; inversion goes by the slope. One jvp of the solver costs about two simulations:
paid once for each sample where the data set has tangents (data.records=[snapshots,tangents]), else in every step, but
then along new directions each time.

Sources: T. O'Leary-Roseberry, P. Chen, U. Villa and O. Ghattas, "Derivative-informed neural operator", J. Comput. Phys.
496 (2024); J. Park and others, "Neural operators with accurate Jacobian for high-fidelity image-domain seismic
inversion" (SLIM, Georgia Tech, 2026): a ten-thousandth of the Jacobian's entries, supervised, is enough to help.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.errors import InputError
from surrogate.loss_terms import Judged, Task, Term, relative, squares

Directions = Float[Array, "batch n_directions nz nx"]


def jacobian(task: Task, count: int) -> Term:
    """Relative L2 error of the tangents of each sample, averaged over its directions.

    count: directions that are drawn where the batch brings none. Raises `InputError` for a task whose Jacobian is not
    that of snapshots by the velocity.
    """
    if task.target != "snapshots" or not {"velocity", "source"} <= set(task.inputs):
        raise InputError(
            "The loss `jacobian` compares derivatives of snapshots by the velocity, but this task predicts "
            f"{task.target} from {', '.join(task.inputs)}. Set training.loss.jacobian=0."
        )

    def term(judged: Judged) -> Float[Array, " batch"]:
        direction, truth = _solver_tangents(judged, task, count)
        predicted = _model_tangents(judged, task, direction)
        many = truth.shape[:2]
        predicted, truth = (t.reshape(-1, *t.shape[2:]) for t in (predicted, truth))
        return jnp.mean(relative(squares(predicted - truth), squares(truth)).reshape(many), axis=1)

    return term


def _solver_tangents(judged: Judged, task: Task, count: int) -> tuple[Directions, jax.Array]:
    """Directions [m/s] and the solver's tangents `(batch, n_directions, n_snapshots, nz, nx)`: stored, or made now."""
    batch, spec = judged.batch, task.spec
    if "tangents" in batch:
        return batch["direction"], batch["tangents"]
    velocity = batch["velocity"]
    keys = jax.random.split(judged.key, len(velocity))
    direction = jax.vmap(lambda key, velocity: spec.directions(key, velocity, count))(keys, velocity)
    tangents = jax.vmap(lambda v, source, d: spec.tangents(v, source[None], d)[0])(velocity, batch["source"], direction)
    return direction, tangents


def _model_tangents(judged: Judged, task: Task, direction: Directions) -> jax.Array:
    """The operator's tangents along the same directions."""
    batch = judged.batch

    def predict(velocity: jax.Array) -> jax.Array:
        return judged.predict(*(velocity if name == "velocity" else batch[name] for name in task.inputs))

    def along(direction: jax.Array) -> jax.Array:
        return jax.jvp(predict, (batch["velocity"],), (direction,))[1]

    return jax.vmap(along, in_axes=1, out_axes=1)(direction)
