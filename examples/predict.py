"""Load a trained run and predict the wavefield of a new model (after `make demo`)."""

import jax.numpy as jnp

from surrogate import load_surrogate, predict

model = load_surrogate("runs/demo/coarse")
velocity = jnp.full((1, 64, 64), 2500.0).at[:, 40:].set(3500.0)  # (batch, nz, nx) [m/s]
source = jnp.array([[20.0, 320.0]])  # (batch, (z, x)) [m]
snapshots = predict(model, velocity, source)  # (batch, n_snapshots, nz, nx)
print(snapshots.shape)
