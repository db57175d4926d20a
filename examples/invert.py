"""Invert wavefields for the velocity, through the solver or, with the same lines, through a surrogate."""

import jax.numpy as jnp

from data_gen import DataConfig, gaussian_smooth
from surrogate import InversionConfig, PhysicsForward, invert, spread_sources

spec = DataConfig(families={"inclusions": {}}, nt=301, snapshot_times=[0.15, 0.2, 0.25, 0.3]).create()
forward = PhysicsForward(spec, spread_sources(spec, 3, depth=20.0), "wavefield", spec.simulation.snapshot_steps)
truth = jnp.full((64, 64), 2500.0).at[25:40, 20:45].set(3200.0)
config = InversionConfig(kind="wavefield", iterations=30, learning_rate=20.0)
result = invert(forward, forward(truth), gaussian_smooth(truth, 6.0), config, truth=truth)
print("misfit", result.misfit[[0, -1]], "model error", result.model_error[[0, -1]])
