"""What training and inversion say while they run."""

from surrogate.commands.train import status
from surrogate.inversion.forward import PhysicsForward, spread_sources
from tests.helpers import tiny_config


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
