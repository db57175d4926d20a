"""Simulate a 20 Hz shot over two layers, below a free surface: `python examples/two_layers.py shot.png` draws it."""

import sys

import jax.numpy as jnp

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate, surface_line

grid, time = Grid((120, 240), spacing=5.0), TimeAxis(nt=1001, dt=7e-4)
simulation = Simulation(  # no absorbing layer on top
    grid, time, max_velocity=3000.0, peak_frequency=20.0, order=8, widths=(0, 20, 20, 20), free_surface=True
)
survey = make_survey([[10.0, 600.0]], surface_line(grid, depth=10.0), ricker(time, 20.0))
velocity = jnp.full(grid.shape, 1800.0).at[60:].set(3000.0)  # the lower layer begins at 300 m
gather = simulate(velocity, survey, simulation).gathers[0]  # (nt, n_receivers)

if len(sys.argv) > 1:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    clip = float(jnp.abs(gather).max()) / 20
    axis.imshow(gather, extent=(0, 1200, 0.7, 0), aspect="auto", cmap="RdBu_r", vmin=-clip, vmax=clip)
    axis.set(xlabel="x [m]", ylabel="t [s]", title="pressure at the receivers, 10 m deep")
    figure.savefig(sys.argv[1], dpi=110)
