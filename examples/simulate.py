"""Simulate a gather and differentiate it: with respect to the velocity, and with respect to the sources' positions."""

import jax
import jax.numpy as jnp

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate, surface_line

grid, time = Grid((64, 64), spacing=10.0), TimeAxis(nt=500, dt=1e-3)
simulation = Simulation(grid, time, max_velocity=4000.0, peak_frequency=12.0, order=8, half_width=4)
survey = make_survey([[20.0, 320.0]], surface_line(grid, depth=20.0), ricker(time, 12.0))
velocity = jnp.full(grid.shape, 2500.0).at[40:].set(3500.0)
gathers = simulate(velocity, survey, simulation).gathers  # (n_sources, nt, n_receivers)
energy = lambda v, s: jnp.sum(simulate(v, s, simulation).gathers ** 2)  # noqa: E731
by_velocity, by_survey = jax.grad(energy, argnums=(0, 1))(velocity, survey)
print(gathers.shape, by_velocity.shape, by_survey.sources)
