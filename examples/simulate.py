"""Simulate a gather, and differentiate a misfit: `python examples/simulate.py docs/_static/simulate.png` draws both."""

import sys

import jax
import jax.numpy as jnp

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate, surface_line

grid, time = Grid((64, 128), spacing=10.0), TimeAxis(nt=800, dt=1e-3)
simulation = Simulation(grid, time, max_velocity=4000.0, peak_frequency=12.0, order=8)
survey = make_survey([[20.0, 640.0]], surface_line(grid, depth=20.0), ricker(time, 12.0))
start = jnp.full(grid.shape, 2000.0)
truth = start.at[40:].set(3000.0).at[18:28, 52:76].set(2500.0)
observed = simulate(truth, survey, simulation).gathers  # (n_sources, nt, n_receivers)
misfit = lambda velocity: jnp.sum((simulate(velocity, survey, simulation).gathers - observed) ** 2)  # noqa: E731
gradient = jax.grad(misfit)(start)  # (nz, nx)

if len(sys.argv) > 1:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
    area, clip = (0, 1280, 640, 0), float(jnp.abs(observed[0, 250:]).max())
    model = axes[0].imshow(truth, extent=area, aspect="auto", cmap="viridis")
    axes[1].imshow(observed[0], extent=(0, 1280, 0.8, 0), aspect="auto", cmap="RdBu_r", vmin=-clip, vmax=clip)
    inside = gradient[6:]  # the rows near the source and the receivers would hide all others
    axes[2].imshow(
        inside, extent=(0, 1280, 640, 60), aspect="auto", cmap="RdBu_r", vmin=-abs(inside).max(), vmax=abs(inside).max()
    )
    figure.colorbar(model, ax=axes[0], label="m/s")
    for axis, title, unit in zip(
        axes, ("velocity", "gather of one shot", "gradient"), ("z [m]", "t [s]", "z [m]"), strict=True
    ):
        axis.set(title=title, xlabel="x [m]", ylabel=unit)
    figure.savefig(sys.argv[1], dpi=110)
