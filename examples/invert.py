"""Invert wavefields for the velocity, through the solver or, with the same lines, through a surrogate."""

import jax.numpy as jnp

from data_gen import Grid, Simulation, TimeAxis, gaussian_smooth, make_survey, ricker, surface_line
from surrogate import InversionConfig, PhysicsForward, invert, spread_sources

grid, time = Grid((64, 64), spacing=10.0), TimeAxis(nt=301, dt=1e-3)
simulation = Simulation(grid, time, max_velocity=4500.0, peak_frequency=15.0, order=8)
survey = make_survey(spread_sources(grid, 3, depth=20.0), surface_line(grid, depth=20.0), ricker(time, 15.0))
forward = PhysicsForward(simulation, survey, "wavefield", steps=(150, 200, 250, 300))
truth = jnp.full((64, 64), 2500.0).at[25:40, 20:45].set(3200.0)
config = InversionConfig(kind="wavefield", iterations=30, learning_rate=20.0)
result = invert(forward, forward(truth), gaussian_smooth(truth, 6.0), config, truth=truth)
print("misfit", result.misfit[[0, -1]], "model error", result.model_error[[0, -1]])
