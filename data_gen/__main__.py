"""Generate a data set: `python -m data_gen data=demo data.path=data/mine data.train=2000`; or look after one."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from data_gen import cli
from data_gen.caching import use_compilation_cache
from data_gen.console import progress_bar
from data_gen.dataset import generate
from data_gen.errors import one_paragraph
from data_gen.executors import LocalConfig, RayConfig, SlurmConfig
from data_gen.sample import DataConfig


@dataclass
class GenerateConfig:
    """`python -m data_gen`. executor: who makes the shards."""

    data: DataConfig = field(default_factory=DataConfig)
    executor: Any = MISSING


def register() -> None:
    """Make the schemas known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="generate_schema", node=GenerateConfig)
    for name, schema in (("local", LocalConfig), ("ray", RayConfig), ("slurm", SlurmConfig)):
        store.store(group="executor", name=f"{name}_schema", node=schema)


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parents[1] / "configs"), config_name="generate")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into typed objects and generate what is missing, with a progress bar."""
    use_compilation_cache()
    config = OmegaConf.to_object(composed.data)
    assert isinstance(config, DataConfig)
    executor: Any = OmegaConf.to_object(composed.executor)
    done, made, start = 0, 0, time.perf_counter()
    with progress_bar(f"generate {config.path}", config.train + config.validation + config.test) as update:

        def count(samples: int, fresh: bool) -> None:
            nonlocal done, made
            done += samples
            made += samples * fresh
            update(done, f"{made / (time.perf_counter() - start):.1f} samples/s")

        manifest = generate(config, executor.create(), count)
    print(f"{config.path}: {done} samples, fingerprint {manifest['fingerprint']}")


if __name__ == "__main__":
    if cli.is_command(sys.argv[1:]):
        cli.main(sys.argv[1:])
    else:
        register()
        main()
