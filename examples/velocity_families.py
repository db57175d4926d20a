"""Draw six models of every family: `python examples/velocity_families.py docs/_static/velocity.png`."""

import sys
import tempfile
from pathlib import Path

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from data_gen import FAMILIES, Grid, make_family

COUNT, GRID = 6, Grid((70, 70), spacing=10.0)


def draw(seed: int, name: str, options: dict) -> np.ndarray:
    """Six models `(6, nz, nx)` [m/s] of a family."""
    family = make_family(name, options)
    keys = jax.random.split(jax.random.key(seed), COUNT)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(lambda key: family(key, GRID), keys))(keys))


def main(out: str) -> None:
    """Two families a row, six models each, one scale of colors."""
    with tempfile.TemporaryDirectory() as folder:
        # A user's model: here a wide faulted section, from which the crops are cut.
        section = Path(folder) / "section.npy"
        np.save(section, make_family("curve_fault_b", {"max_layers": 12})(jax.random.key(8), Grid((140, 420), 10.0)))
        options = {"crops": {"path": str(section), "max_scale": 1.6, "warp": 0.08}}
        models = {name: draw(seed, name, options.get(name, {})) for seed, name in enumerate(FAMILIES)}
    rows = -(-len(models) // 2)
    figure, axes = plt.subplots(rows, 2 * COUNT + 1, figsize=(13, 1.22 * rows), width_ratios=[1] * 6 + [0.25] + [1] * 6)
    for axis in axes.flat:
        axis.axis("off")
    colors = Normalize(1400, 4500)
    for place, (name, six) in enumerate(models.items()):
        row, first = place % rows, (place // rows) * (COUNT + 1)
        for axis, model in zip(axes[row, first : first + COUNT], six, strict=True):
            axis.imshow(model, norm=colors, interpolation="nearest")
        axes[row, first].set_title(name, loc="left", fontsize=9, pad=3)
    figure.subplots_adjust(left=0.01, right=0.925, top=0.97, bottom=0.01, wspace=0.06, hspace=0.28)
    bar = figure.colorbar(ScalarMappable(colors), cax=figure.add_axes((0.935, 0.3, 0.01, 0.4)))
    bar.set_label("velocity [m/s]")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/_static/velocity.png")
