"""Resolution transfer: a run's surrogate on another grid of the same domain, in Python and by `evaluate.py other=`."""

import json
from contextlib import closing
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hydra import compose, initialize_config_dir

from data_gen.common.errors import InputError
from data_gen.common.files import write_json
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate.commands import evaluate
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.models.surrogate import Surrogate
from surrogate.models.training_distance import FEATURES, FEWEST, TrainingModels
from surrogate.operators.base import OperatorConfig
from surrogate.operators.fno import FNO, FNOConfig
from surrogate.operators.multiscale import MultiscaleConfig
from surrogate.operators.ufno import UFNOConfig
from surrogate.operators.unet import UNetConfig
from surrogate.operators.uno import UNOConfig
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import CONFIG
from surrogate.runs.load import load_surrogate
from surrogate.runs.predict import predict
from surrogate.runs.training_models import FILE
from surrogate.runs.transfer import GridWarning, on_grid_of, warn_of_cells
from surrogate.tasks.gather import GatherConfig
from tests.helpers import ROOT, encoding_config, relative, tiny_config

# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

SPECTRAL = FNOConfig(width=6, depth=1, modes=[4, 4], mlp_ratio=2, local=False, padding=0.0)


def finer(data: DataConfig, factor: int, **changes) -> DataConfig:
    """The same sides and times in cells and steps `factor` times as small."""
    steps = {"nt": factor * (data.nt - 1) + 1, "dt": data.dt / factor, "receiver_every": factor * data.receiver_every}
    cells = {"nz": factor * data.nz, "nx": factor * data.nx, "spacing": data.spacing / factor}
    return replace(data, **cells | steps | changes)


def with_output(model: Surrogate) -> Surrogate:
    """As if trained: another projection than zero, and a normalization."""
    assert isinstance(model.operator, FNO)
    kernel = model.operator.project.kernel
    kernel[...] = jax.random.normal(jax.random.key(7), kernel.shape)
    model.medium_mean[...], model.medium_std[...] = jnp.array([3000.0]), jnp.array([800.0])
    return model


def save_run(config: TrainConfig) -> TrainConfig:
    """A run's folder with such weights in it."""
    folder = Path(config.run)
    folder.mkdir(parents=True)
    write_json(folder / CONFIG, asdict(config))
    with closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save_best(1, nnx.to_pure_dict(nnx.state(with_output(config.create()))), {"validation": 1.0})
    return config


def prediction(state: nnx.State, config: TrainConfig) -> np.ndarray:
    """Predict for a model of two cycles a domain, with a shot in the middle: 32 cells a side hold both and the bump."""
    model, data = config.create(), config.data
    nnx.update(model, state)
    z, x = np.meshgrid(np.arange(data.nz) / data.nz, np.arange(data.nx) / data.nx, indexing="ij")
    velocity = 3000 + 500 * np.sin(2 * np.pi * (2 * z + x))
    source = np.array([[data.nz // 2, data.nx // 2]]) * data.spacing
    return np.asarray(predict(model, velocity[None].astype(np.float32), source.astype(np.float32)))


@pytest.mark.parametrize("periodic", [True, False])
def test_predictions_agree_where_the_cells_coincide(periodic):
    """Weights of a 32 x 32 grid on 64 x 64, at every second cell.

    On a periodic box all is band-limited, a Gaussian of two coarse cells to exp(-2 pi^2) = 3e-9 at the coarse grid's
    limit, but what GELU makes of it, which falls exponentially: float32's sums remain, some 1e-6, and 1e-4 is asked.
    Positions jump by 2 at the domain's edge. A sum over cells integrates a jump to half a cell, so what differs is of
    order 1 / n = 3 % of what positions contribute, and halves with the cells: 10 %, and 0.6 of it on the next grids.
    A bump that kept its cells instead of its meters would differ by several tenths.
    """
    data = tiny_config("none", nz=32, nx=32)
    model = replace(SPECTRAL, periodic=periodic)
    config = TrainConfig(data=data, model=model, encoding=SourceMapConfig(radius=2.0))
    state = nnx.state(with_output(config.create()))
    grids = [on_grid_of(config, finer(data, factor)) for factor in ((1, 2) if periodic else (1, 2, 4))]
    outputs = [prediction(state, grid) for grid in grids]
    differences = [relative(fine[..., ::2, ::2], coarse) for coarse, fine in pairwise(outputs)]
    if periodic:
        assert differences[0] < 1e-4, differences
        same_cells = prediction(state, replace(grids[1], encoding=config.encoding))
        assert relative(same_cells[..., ::2, ::2], outputs[0]) > 0.1
    else:
        assert differences[0] < 0.1 and differences[1] < 0.6 * differences[0], differences


# One family, and no gathers: quick to make.
SMOOTH: dict[str, Any] = {
    "families": {"gaussian_random_field": {"min_velocity": 2000}},
    "records": ["snapshots"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    config = tiny_config(tmp_path_factory.mktemp("data") / "coarse", train=2, validation=1, test=2, **SMOOTH)
    dataset.generate(config)
    return config


@pytest.fixture(scope="module")
def fine(data) -> DataConfig:
    config = finer(data, 2, path=str(Path(data.path).parent / "fine"), train=0, seed=1)
    dataset.generate(config)
    return config


@pytest.mark.filterwarnings("error::surrogate.runs.transfer.GridWarning")
def test_evaluated_on_a_finer_grid(data, fine, tmp_path):
    """By the command: the errors on both grids are in the metrics and the report.

    They are those of the weights that `load_surrogate` puts on the finer grid. The coarse solver works
    there on cells half as large as on the run's grid: at an order of 12 its error falls by far more than half."""
    config = save_run(TrainConfig(str(tmp_path / "run"), data, model=SPECTRAL, encoding=SourceMapConfig()))
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        arguments = [
            f"run={config.run}",
            f"other={fine.path}",
            "repeats=1",
            "batch_size=2",
            "speedup_samples=0",
            "gradient_samples=0",
            "inversion_samples=0",
        ]
        evaluate.main(compose("evaluate", arguments))
    stored = json.loads((Path(config.run) / "metrics.json").read_text())
    other = stored["other"]
    assert other["grid"] == "48 x 40 cells of 5 m" and other["test_samples"] == 2
    assert f"on {other['grid']}" in (Path(config.run) / "report.html").read_text()
    assert other["coarse_solver"]["relative_l2"]["mean"] < 0.5 * stored["coarse_solver"]["relative_l2"]["mean"]
    records = list(dataset.data_source(fine.path, "test"))
    velocity, sources, truth = (np.stack([r[n] for r in records]) for n in ("velocity", "sources", "snapshots"))
    predicted = np.asarray(predict(load_surrogate(config.run, fine), velocity, sources[:, 0]))
    errors = [relative(p, t[0]) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(other["relative_l2"]["mean"], np.mean(errors), rtol=1e-4)


LOCAL = replace(SPECTRAL, local=True)
PLAIN = MultiscaleConfig(first=SPECTRAL, second=SPECTRAL)
BOUND: dict[str, tuple[OperatorConfig, str]] = {
    "local": (LOCAL, "3x3 filters"),
    "products": (replace(SPECTRAL, products=2), "3x3 filters"),
    "ufno": (UFNOConfig(width=6, depth=1, modes=[4, 4], local=False, padding=0.0, unet_blocks=1), "3x3 filters"),
    "unet": (UNetConfig(width=6, levels=1), "3x3 filters"),
    "multiscale": (replace(PLAIN, second=LOCAL), "3x3 filters"),
    "uno": (UNOConfig(width=4, depth=1, levels=1, modes=[4, 4], local=False, padding=0.0), "coarser levels of a U-NO"),
    # 24 and 48 cells: 2 and 3 of them.
    "padding": (replace(SPECTRAL, padding=0.0625), "padding, rounded to cells, is another fraction"),
}


@pytest.mark.parametrize("name", BOUND)
def test_what_sees_cells_is_warned_of(name):
    model, reason = BOUND[name]
    data = tiny_config("none")
    operator = nnx.eval_shape(lambda: model.create(2, 3, rngs=nnx.Rngs(0)))
    with pytest.warns(GridWarning, match=f"24 x 20 cells of 10 m and is used on 48 x 40 of 5 m.*{reason}"):
        warn_of_cells(operator, run_on(data), finer(data, 2))


def run_on(data: DataConfig, encoding: str = "source_map") -> TrainConfig:
    return TrainConfig(data=data, encoding=encoding_config(encoding))


def test_other_sides_are_warned_of():
    data = tiny_config("none")
    operator = nnx.eval_shape(lambda: SPECTRAL.create(2, 3, rngs=nnx.Rngs(0)))
    with pytest.warns(GridWarning, match="other sides, 240 x 210 m and not 240 x 200 m"):
        warn_of_cells(operator, run_on(data), replace(finer(data, 2), nx=42))


@pytest.mark.filterwarnings("error::surrogate.runs.transfer.GridWarning")
def test_what_transfers_is_not_warned_of():
    data = tiny_config("none")
    for model, other in ((SPECTRAL, finer(data, 2)), (PLAIN, finer(data, 2)), (LOCAL, replace(data, seed=1))):
        for encoding in ("source_map", "coarse"):
            operator = nnx.eval_shape(lambda m=model: m.create(2, 3, rngs=nnx.Rngs(0)))
            warn_of_cells(operator, run_on(data, encoding), other)


def test_a_run_with_filters_is_loaded_with_a_warning(tmp_path):
    data = tiny_config("none")
    config = save_run(TrainConfig(str(tmp_path / "run"), data, model=LOCAL, encoding=SourceMapConfig()))
    with pytest.warns(GridWarning, match="3x3 filters"):
        model = load_surrogate(config.run, finer(data, 2))
    for ours, theirs in zip(*(jax.tree.leaves(nnx.state(m)) for m in (load_surrogate(config.run), model)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_training_models_are_known_on_the_same_cells(tmp_path):
    """Features are of changes from cell to cell, so they hold on other data of the same cells, and on no others."""
    data = tiny_config("none")
    config = save_run(TrainConfig(str(tmp_path / "run"), data, model=SPECTRAL, encoding=SourceMapConfig()))
    known = TrainingModels(np.random.default_rng(0).normal(size=(FEWEST, FEATURES)).astype(np.float32))
    known.save(Path(config.run) / FILE)
    assert load_surrogate(config.run).training_models == known
    assert load_surrogate(config.run, replace(data, seed=1)).training_models == known
    assert load_surrogate(config.run, finer(data, 2)).training_models is None


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")  # of the coarse grid
def test_what_cannot_be_the_same_is_refused():
    """Another domain, other times or waves, another task, a grid too coarse; a cell's worth of the sides is not."""
    data = tiny_config("none")
    config = TrainConfig(data=data, model=SPECTRAL, encoding=SourceMapConfig())
    twice = finer(data, 2)
    for changes, message in (
        ({"nx": 44}, r"cover 240 x 220 m, but the run's 240 x 200 m.*within one cell of 10 m"),
        ({"snapshot_times": [0.08, 0.10, 0.11]}, r"other waves \(snapshot_times: "),
        ({"snapshot_times": [0.08, 0.10]}, r"other waves \(snapshot_times: "),
        ({"peak_frequency": 14.0}, r"other waves \(peak_frequency: "),
        ({"receiver_depth": 30.0}, r"other waves \(receiver_depth: "),
    ):
        with pytest.raises(InputError, match=message):
            on_grid_of(config, replace(twice, **changes))
    with pytest.raises(InputError, match=r"task gather cannot be used on another grid so far.*runs/default"):
        on_grid_of(replace(config, task=GatherConfig()), twice)
    gather = replace(config, task=GatherConfig())
    assert on_grid_of(gather, replace(data, seed=1)) is gather  # the same grid
    with pytest.raises(InputError, match="12 x 10 cells, padding counted, cannot carry 5 x 5 modes"):
        coarse = replace(data, nz=12, nx=10, spacing=20.0)
        on_grid_of(replace(config, model=replace(SPECTRAL, modes=[5, 5])), coarse).create()
    on_grid_of(config, replace(twice, nx=42))  # 210 m
