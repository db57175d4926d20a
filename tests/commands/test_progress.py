"""What the commands say while they run: sizes before generation, samples one by one, and where a training stands."""

from data_gen.dataset.generation import generate
from data_gen.dataset.shards import read_shard
from data_gen.dataset.size import batch_bytes, expected_size, record_bytes
from data_gen.dataset.verification import verify
from data_gen.solver.memory_plan import peak_bytes
from surrogate.commands.train import status
from surrogate.inversion.forward import PhysicsForward, spread_sources
from tests.helpers import tiny_config


def test_generation_reports_every_sample_and_the_size(tmp_path):
    """The size of a record is that of its arrays; the second call counts whole shards that were made before."""
    config, calls = tiny_config(tmp_path / "data", train=5, validation=1, test=1, shard_size=4), []
    spec = config.create()
    manifest = generate(config, on_samples=lambda samples, made: calls.append((samples, made)))
    assert calls == [(1, True)] * 7
    record = next(read_shard(tmp_path / "data" / next(iter(manifest["shards"])), manifest["fields"]))
    size = sum(value.nbytes for value in record.values())
    assert record_bytes(manifest["fields"]) == size
    assert f": 7 samples of {size / 1e3:.3g} kB, about {7 * size / 1e3:.3g} kB on disk" in expected_size(config)
    assert batch_bytes(spec, 6) == peak_bytes(spec.simulation, 6 * spec.shots.count, len(spec.receivers))

    calls.clear()
    generate(config, on_samples=lambda samples, made: calls.append((samples, made)))
    assert calls == [(4, False), (1, False), (1, False), (1, False)]
    checked = []
    verify(config.path, on_shard=lambda done, of: checked.append((done, of)))
    assert checked == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_an_inversion_says_the_memory_of_the_gradient_that_it_will_take(tmp_path):
    """It is that of the plan, and grows with the shots."""
    spec = tiny_config(tmp_path / "data").create()
    steps, peaks = tuple(range(spec.simulation.time.nt)), []
    for shots in (2, 8):
        survey = spec.survey(spread_sources(spec.simulation.grid, shots, 20.0))
        planned, plan = PhysicsForward(spec.simulation, survey, "gather", steps).within(1e12)
        assert planned.peak() == plan.peak
        peaks.append(plan.peak)
    assert peaks[0] < peaks[1]


def test_status_of_a_training():
    """Compiling, then the memory of the first steps, then the loss; the best validation from when there is one."""
    assert status({}) == "compiling"
    assert status({"best": 0.5}) == "best 0.5000, compiling"  # resumed
    assert status({"peak_memory": 3e9}) == "3,000 MB of memory"
    assert status({"peak_memory": 3e9, "loss": 0.25}) == "loss 0.2500"
    latest = {"peak_memory": 3e9, "loss": 0.25, "validation": 0.375, "best": 0.3125}
    assert status(latest) == "loss 0.2500, validation 0.3750, best 0.3125"
