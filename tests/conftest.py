"""Shared fixtures. Shapes in signatures are enforced in every run (see `addopts` in pyproject.toml)."""

import gc
import os
import signal
from importlib import import_module
from importlib.metadata import version
from tempfile import TemporaryDirectory

# Four host devices exercise data-parallel code on every machine. The other two flags halve the time to compile; the
# last is for jaxlib 0.10, since later ones end the process at a flag that they do not know.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)
# Most programs run once, so they should compile fast: LLVM's optimizations take most of the tests' time, and change
# rounding only.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["WANDB_MODE"] = "offline"
# In the background and under nohup these are ignored, but tests send them.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
# All processes of a test run share what they compile: both workers, and the commands that tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = TemporaryDirectory(prefix="wave-surrogate-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

# The import hook (`--jaxtyping-packages`) compiles anew, in each process, what our packages are the first to import.
LIBRARIES = """flax.nnx grain h5py hydra matplotlib.figure optax orbax.checkpoint rich.progress
    scipy.ndimage scipy.optimize scipy.special segyio tensorflow_datasets zarr"""
for library in LIBRARIES.split():
    import_module(library)

import jax
import pytest
from hydra._internal.hydra import Hydra
from threadpoolctl import threadpool_limits

from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.solver.engines import scan
from surrogate.commands import train
from surrogate.figures import drawing
from tests.helpers import tiny_config
from tests.network import refuse_other_machines, refused

refuse_other_machines()


def pytest_collection_finish():
    """Let the garbage collector look rarely, and not at modules and tests: tracing makes objects that are kept."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def collected_and_frozen():
    """Keep what a file leaves, such as compiled programs, from the collections of the next: one at each stage's end."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_leaves_the_machine():
    """Fail a test whose process called another machine or listened for one, although a caught error hides it."""
    yield
    calls = list(refused)
    refused.clear()
    assert calls == []


@pytest.fixture(autouse=True, scope="session")
def freed_memory_is_given_back():
    """A test process trains many models: what `train.main` asks of the allocator would keep the memory of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "keep_freed_memory", lambda: True)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread_of_linear_algebra():
    """Let NumPy compute on one thread: the others of a test process would wait busily, where another process tests."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(autouse=True, scope="session")
def plain_figures():
    """Draw figures without arranging them; tests/report/test_report.py arranges one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "LAYOUT", "none")
        patch.setattr(drawing, "DPI", 40)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_step_per_iteration():
    """Compile a time loop with one copy of the step; two and a remainder take up to three times as long to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "UNROLL", 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_composition_per_command():
    """Hydra composes a config twice, first for its own `hydra.mode`, which no config here sets: None is the answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> DataConfig:
    """The data set of `configs/data/tiny.yaml`, which no test changes."""
    config = tiny_config(tmp_path_factory.mktemp("data") / "set")
    dataset.generate(config)
    return config


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
