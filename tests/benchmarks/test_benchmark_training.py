"""The training benchmark's own parts; it is compared with neuraloperator where it runs, not here."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.peers.ours_training import SameFNO, parameters
from benchmarks.training import make_row
from benchmarks.training_cases import CASES, batch, weights

TINY = replace(CASES["64x64"], side=8, batch=2, width=4, depth=2, modes=2)


def test_a_row_has_the_documented_form_and_ratios_above_one_are_ours():
    row = make_row({"case": "64x64", "quantity": "train"}, 5, [(1.0, 2.0), (1.0, 4.0), (2.0, 8.0)])
    assert {"case", "quantity", "peer", "ratio", "ours_s", "peer_s"} <= row.keys()
    assert (row["peer"], row["ratio"], row["ours_s"], row["peer_s"]) == ("neuraloperator", 4.0, 0.2, 0.8)


def test_our_side_holds_every_weight_of_the_case():
    w, spectral = 4, 2 * 5 * 3 * 4 * 4
    lift, project = 3 * 2 * w + 2 * w + 2 * w * w + w, w * 2 * w + 2 * w + 2 * w * 8 + 8
    block = spectral + (w * w + w) + (w * 2 + 2) + (2 * w + w) + w
    assert parameters(TINY) == sum(array.size for array in weights(TINY).values()) == lift + project + 2 * block


def test_our_side_computes_the_function_written_down():
    def gelu(x):
        return np.asarray(nnx.gelu(jnp.asarray(x), approximate=False))

    found, x = weights(TINY), batch(TINY)[0]

    def layer(name, x):
        return x @ found[f"{name}.kernel"] + found[f"{name}.bias"]

    def spectral(name, x):
        # The whole transform by FFT, for every mode but those kept zero.
        full, kept = np.fft.rfft2(x, axes=(1, 2)), np.zeros((2, 8, 5, 4), complex)
        weight = found[f"{name}.real"] + 1j * found[f"{name}.imaginary"]
        for row, k in enumerate(range(-2, 3)):
            kept[:, k, :3] = np.einsum("bxi,xio->bxo", full[:, k, :3], weight[row])
        return np.fft.irfft2(kept, s=(8, 8), axes=(1, 2))

    y = layer("lift.1", gelu(layer("lift.0", x)))
    for i, act in ((0, gelu), (1, lambda x: x)):
        mixed = act(spectral(f"blocks.{i}.spectral", y) + layer(f"blocks.{i}.skip", y))
        y = act(layer(f"blocks.{i}.mlp.1", gelu(layer(f"blocks.{i}.mlp.0", mixed))) + found[f"blocks.{i}.gate"] * y)
    expected = layer("project.1", gelu(layer("project.0", y)))
    operator = SameFNO(TINY, rngs=nnx.Rngs(0))
    operator.load(found)
    # Rounding of float32 through some twenty layers.
    assert np.asarray(operator(jnp.asarray(x))) == pytest.approx(expected, abs=1e-5 * float(np.abs(expected).max()))
