"""The shots of an inversion over devices and processes: the update of one device, to rounding."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.many_shots import AXIS, shot_mesh
from surrogate.inversion.descent import InversionConfig, invert
from surrogate.inversion.forward import PhysicsForward, spread_sources
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.shot_sharding import ShotsConfig, place_shots
from surrogate.runs.invert import PROGRESS, run_inversion
from tests.helpers import ROOT, relative, tiny_config
from tests.test_parallel import free_port
from tests.two_inversions import inversion


def problem(shots: int) -> tuple[PhysicsForward, jax.Array, jax.Array]:
    """A forward model on one device, a start, and observed data of a model with a fast lower part.

    The device takes one shot after the other, as a program with all shots has constants that XLA computes ahead, with
    another rounding. Data are 450 times as large as residuals here, so the gradient would change by 1e-4.
    """
    spec = tiny_config("unused").create()
    forward = PhysicsForward(spec.simulation, spec.survey(spread_sources(spec.simulation.grid, shots, 20.0)), at_once=1)
    start = jnp.full(spec.simulation.grid.shape, 2600.0)
    return forward, start, jax.jit(forward.__call__)(start.at[12:].set(2900.0))


def over(forward: PhysicsForward, devices: int, at_once: int | None = 1) -> PhysicsForward:
    return replace(forward, mesh=shot_mesh(jax.devices()[:devices]), at_once=at_once)


def objective(forward: PhysicsForward, start: jax.Array, observed: jax.Array) -> DataMisfit:
    placed = place_shots(observed, forward)
    assert placed is not None
    return DataMisfit(forward, placed, None, MISFITS["l2"], start.shape)


def test_gradient_and_two_steps_of_lbfgs():
    """Five shots over four devices, of which each has two or copies: the numbers of one device.

    Each shot is computed to the same bits. Their gradients are added in float32 in another order, each addition to 6e-8
    of a sum in which shots cancel by less than a factor of ten: 1e-5. The steps are made of these gradients, so they
    differ by 1e-5 of 20 m/s or so: by less than twice the spacing of float32 at 2600 m/s.
    """
    forward, start, observed = problem(5)
    split = over(forward, 4, at_once=None)
    x = np.asarray(start, np.float64).ravel()
    (value, gradient), (split_value, split_gradient) = (
        objective(model, start, observed).value_and_gradient(x) for model in (forward, split)
    )
    assert abs(split_value / value - 1) < 1e-12
    assert relative(split_gradient, gradient) < 1e-5
    config = InversionConfig(optimizer="lbfgs", iterations=2, bounds=[1500.0, 3500.0])
    one, four = (invert(model, observed, start, config) for model in (forward, split))
    assert len(one.misfit) == 3 and one.misfit[2] < 0.9 * one.misfit[0]
    np.testing.assert_allclose(four.misfit, one.misfit, rtol=1e-4)
    assert np.abs(one.velocity - start).max() > 1.0
    np.testing.assert_allclose(four.velocity, one.velocity, rtol=0, atol=2 * np.spacing(np.float32(2600.0)))
    np.testing.assert_array_equal(four.simulations, one.simulations)  # copies do not count


def test_data_stay_with_their_shots():
    """Eight shots over four devices, each of them one shot after the other: no device has the others' data or field.

    What devices exchange is no larger than a model.
    """
    forward, start, observed = problem(8)
    split = over(forward, 4)
    placed = place_shots(observed, split)
    assert placed is not None
    assert {part.data.shape[0] for part in placed.addressable_shards} == {2}
    np.testing.assert_array_equal(placed, observed)
    one, four = (objective(model, start, observed) for model in (forward, split))
    program = jax.jit(four._gradient).lower(start, placed, None, None, None, None).compile().as_text()
    assert program is not None
    sent = re.findall(r"= \(?\w+\[([\d,]*)\].* (?:all-|collective-|reduce-scatter)[\w-]*\(", program)
    assert sent and max(int(np.prod([int(n) for n in shape.split(",") if n])) for shape in sent) <= start.size
    x = np.asarray(start, np.float64).ravel()
    assert relative(four.value_and_gradient(x)[1], one.value_and_gradient(x)[1]) < 1e-5


@pytest.mark.slow
def test_products_over_devices():
    """Products with second derivatives agree as gradients do."""
    forward, start, observed = problem(8)
    one, four = (objective(model, start, observed) for model in (forward, over(forward, 4)))
    x = np.asarray(start, np.float64).ravel()
    direction = np.random.default_rng(0).normal(size=x.size)
    assert relative(four.hessian_product(x, direction), one.hessian_product(x, direction)) < 1e-5


def test_data_that_do_not_divide_are_on_every_device():
    forward, _, observed = problem(5)
    placed = place_shots(observed, over(forward, 4))
    assert placed is not None and placed.sharding.is_fully_replicated
    assert place_shots(observed, forward) is observed


@pytest.mark.parametrize(
    ("config", "shots", "message"),
    [
        ({"devices": 0}, 4, "at least 1"),
        ({"devices": 5}, 8, "parallel.devices = 5, but there are 4"),
        ({"devices": 4}, 3, "3 shots cannot be shared by 4 devices"),
        ({"processes": 2, "process": 0}, 4, "go together"),
    ],
)
def test_devices_that_cannot_share_the_shots(config, shots, message):
    with pytest.raises(InputError, match=message):
        ShotsConfig(**config).create(shots)


def test_several_processes_need_a_shot_for_every_device(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match=r"must have shots, but parallel\.devices = 2"):
        ShotsConfig(devices=2).create(4)
    with pytest.raises(InputError, match="3 shots cannot be shared by 4 devices of 2 processes"):
        ShotsConfig().create(3)


def test_one_device_for_each_shot():
    """Unless the number of devices is given: as many as there are shots, one of them without a mesh."""
    meshes = [ShotsConfig(devices=devices).create(shots) for devices, shots in ((None, 9), (None, 3), (2, 9))]
    assert [mesh and mesh.shape[AXIS] for mesh in meshes] == [4, 3, 2]
    assert ShotsConfig().create(1) is None and ShotsConfig(devices=1).create(9) is None


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Two processes of two devices: the result of one device to rounding; killed and resumed, the same bits.

    Five steps of L-BFGS enlarge the differences of float32 sums (1e-7 of a gradient) by estimates of the curvature:
    1e-3 of what the model changes.
    """
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}

    def run(folder, last: int) -> list[int]:
        command = [sys.executable, "-m", "tests.two_inversions", str(free_port())]
        pair = [
            subprocess.Popen([*command, index, str(folder), str(last)], cwd=ROOT, env=environment) for index in "01"
        ]
        try:
            return [process.wait(timeout=400) for process in pair]
        finally:
            for process in pair:
                process.kill()

    assert run(tmp_path / "whole", -1) == [0, 0]
    assert -signal.SIGKILL in run(tmp_path / "killed", 3)
    assert (tmp_path / "killed" / PROGRESS).exists() and not (tmp_path / "killed" / "inversion.json").exists()
    assert run(tmp_path / "killed", -1) == [0, 0]
    assert run(tmp_path / "killed", 0) == [0, 0]  # it is finished: nothing is computed
    run_inversion(inversion(tmp_path / "one", ShotsConfig(devices=1)))
    whole, killed, one = (np.load(tmp_path / name / "result.npz") for name in ("whole", "killed", "one"))
    for name in whole.files:
        np.testing.assert_array_equal(killed[name], whole[name], err_msg=name)
    assert relative(whole["velocity"] - whole["start"], one["velocity"] - one["start"]) < 1e-3
    np.testing.assert_array_equal(whole["simulations"], one["simulations"])
