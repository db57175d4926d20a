"""The playground: what its page computes, and what its user may send. `make browser` opens it in a browser."""

import io
from base64 import b64encode

import jax.numpy as jnp
import numpy as np
import pytest
from bokeh.document import Document
from flax import nnx

from data_gen.common.errors import InputError
from surrogate.encodings.registry import make_encoding
from surrogate.models.surrogate import Surrogate
from surrogate.operators.fno import FNOConfig
from surrogate.play import scene as module
from surrogate.play.page import Page
from surrogate.play.scene import OURS, SOLVER, Scene
from surrogate.play.server import make_server
from tests.helpers import encoding_config, listening, relative, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def surrogate_of(task_name: str, tmp_path, encoding_name: str = "coarse", **data) -> Surrogate:
    task = task_config(task_name).create(tiny_config(tmp_path / "none", **data).create())
    encoding = make_encoding(encoding_config(encoding_name), task)
    operator = FNOConfig(width=4, depth=1, modes=[3, 3], mlp_ratio=1).create(
        encoding.media + encoding.channels, task.outputs, rngs=nnx.Rngs(0)
    )
    return Surrogate(task, encoding, operator)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return Scene(surrogate_of("wavefield", tmp_path_factory.mktemp("none")))


def sent(velocity: np.ndarray, **saved) -> str:
    content = io.BytesIO()
    np.save(content, velocity, **saved)
    return b64encode(content.getvalue()).decode()


def test_a_shot(scene):
    """The page shows what the solver simulates and what the surrogate predicts, with the differences between them."""
    velocity, source = scene.draw(scene.families[0], 3), (40.0, 120.0)
    shot = scene.shoot(velocity, source)
    task = scene.task
    truth = np.asarray(task.solve(jnp.asarray(velocity), jnp.array([source]), task.spec.simulation))[0]
    assert relative(shot.fields[SOLVER], truth) < 1e-5  # two programs of the same steps
    assert shot.errors[SOLVER] == 0
    assert shot.errors[OURS] == pytest.approx(relative(shot.fields[OURS], shot.fields[SOLVER]), rel=1e-5)
    assert set(shot.seconds) == set(shot.fields) == {SOLVER, "coarse_solver", OURS}
    assert all(seconds > 0 for seconds in shot.seconds.values())


def test_what_is_sent(scene, tmp_path, monkeypatch):
    """A model is put on the grid; pickles, other files, too much, and what the solver cannot simulate are refused."""
    grid = scene.spec.simulation.grid
    velocity = np.full((2 * grid.shape[0], 2 * grid.shape[1]), 2000.0)
    read, where = scene.read("mine.npy", sent(velocity))
    assert read.shape == grid.shape and read == pytest.approx(2000.0) and "window" in where
    for name, content, said in (
        ("mine.npy", sent(np.array([{}], dtype=object), allow_pickle=True), "pickle|objects"),
        ("mine.txt", sent(velocity), r"mine\.txt is not a model file"),
        ("../../mine.npy", "!!", r"^mine\.npy did not arrive"),
        ("mine.npy", sent(velocity / 1000), "km/s"),
        ("mine.npy", sent(velocity * 5), "max_velocity|faster"),
    ):
        with pytest.raises(InputError, match=said):
            scene.read(name, content)
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    with pytest.raises(InputError, match="at most"):
        scene.read("mine.npy", sent(velocity))
    packed = io.BytesIO()
    np.savez_compressed(packed, velocity=velocity)
    assert len(packed.getvalue()) < 1000
    with pytest.raises(InputError, match="at most"):
        scene.read("mine.npz", b64encode(packed.getvalue()).decode())


def test_other_tasks(tmp_path):
    """A task without shots through a model has nothing to show."""
    with pytest.raises(InputError, match="task=inverse"):
        Scene(surrogate_of("inverse", tmp_path, "none", placement="line", source_depths=[20, 20]))


def test_gathers(tmp_path):
    """A gather surrogate is shown in time over receivers."""
    page = Page(Document(), Scene(surrogate_of("gather", tmp_path)))
    assert not page.snapshot.visible
    assert page.panels[OURS][1].data["image"][0].shape == page.scene.task.shape


def test_what_a_user_does(scene):
    """Dragging, painting, drawing and loading change the shot at the next look; a mistake is told as plain text."""
    page, other = Page(Document(), scene), Page(Document(), scene)
    first = page.shot
    page.update()
    assert page.shot is first  # nothing was moved
    spacing, (_, width) = scene.spec.simulation.grid.spacing, page.extent
    page.source.data = {"x": [2 * width], "y": [-5.0]}  # dragged out of the model
    assert page.at_source() == (0, width - spacing)
    page.source.data = {"x": [100.0], "y": [60.0]}
    page.update()
    assert first is not None and page.shot is not None
    assert page.shot is not first and relative(page.shot.fields[SOLVER], first.fields[SOLVER]) > 0.1
    page.brush.value = page.brush.start
    page.strokes.data = {"xs": [[100.0, 120.0]], "ys": [[100.0, 100.0]]}
    row, column = round(100 / spacing), round(100 / spacing)
    assert page.velocity[row, column] == page.brush.start
    assert page.strokes.data["xs"] == []
    page.draw(5)
    assert relative(page.velocity, scene.draw(scene.families[0], 5)) == 0
    page.load("<b>.npy", "!!")
    assert "&lt;b>.npy did not arrive" in page.told.text
    assert relative(other.velocity, scene.draw(scene.families[0], 0)) == 0  # another user's page


def test_an_inversion(scene):
    """The misfit falls, from a smooth start."""
    velocity = scene.draw(scene.families[0], 1)
    start, result = scene.invert(velocity)
    assert result.misfit[-1] < 0.9 * result.misfit[0]
    assert np.abs(np.diff(start, axis=0)).max() < np.abs(np.diff(velocity, axis=0)).max()


def test_loopback_only(tmp_path):
    """The server listens on 127.0.0.1 and nowhere else; a port that is taken is refused in a sentence."""
    server = make_server(surrogate_of("wavefield", tmp_path), 0)
    server.start()
    try:
        assert listening() == ["0100007F"]
        assert server.port is not None
        with pytest.raises(InputError, match="cannot be used"):
            make_server(surrogate_of("wavefield", tmp_path), server.port)
    finally:
        server.stop()
