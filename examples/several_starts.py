"""Fit several starting models at once, by an optimizer of one's own around the solver."""

import jax
import jax.numpy as jnp
import optax

from data_gen import Grid, Simulation, TimeAxis, gaussian_smooth, make_survey, ricker, surface_line
from surrogate import MISFITS, PhysicsForward

grid, time = Grid((48, 64), spacing=15.0), TimeAxis(nt=350, dt=1.5e-3)
simulation = Simulation(grid, time, max_velocity=3600.0, peak_frequency=10.0, order=8)
line = surface_line(grid, depth=30.0)
forward = PhysicsForward(simulation, make_survey(line[4::14], line[::2], ricker(time, 10.0)))
truth = jnp.full(grid.shape, 2000.0).at[20:].set(2600.0)
observed = forward(truth)  # (n_shots, nt, n_receivers)
models = jnp.stack([gaussian_smooth(truth, 3.0), gaussian_smooth(truth, 8.0), jnp.full(grid.shape, 2200.0)])
optimizer = optax.adam(20.0)  # m/s
state = optimizer.init(models)


@jax.jit
def step(models, state):
    """Update every model by its own gradient."""
    losses, gradients = jax.vmap(jax.value_and_grad(lambda model: MISFITS["l2"](forward(model), observed)))(models)
    updates, state = optimizer.update(gradients, state)
    models = optax.projections.projection_box(optax.apply_updates(models, updates), 1500.0, 3600.0)
    return models, state, losses


for _ in range(20):
    models, state, losses = step(models, state)
    print(losses)  # of each model, (3,)
