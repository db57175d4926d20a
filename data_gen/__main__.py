"""Generate a data set: `python -m data_gen data=demo data.path=data/mine data.train=2000`."""

import time
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from data_gen.caching import use_compilation_cache
from data_gen.console import progress_bar
from data_gen.dataset import generate
from data_gen.errors import one_paragraph
from data_gen.sample import DataConfig, GenerateConfig

ConfigStore.instance().store(name="generate_schema", node=GenerateConfig)


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parents[1] / "configs"), config_name="generate")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into a `DataConfig` and generate what is missing, with a progress bar."""
    use_compilation_cache()
    config = OmegaConf.to_object(composed.data)
    assert isinstance(config, DataConfig)
    done, made, start = 0, 0, time.perf_counter()
    with progress_bar(f"generate {config.path}", config.train + config.validation + config.test) as update:

        def count(fresh: bool) -> None:
            nonlocal done, made
            done += 1
            made += fresh
            update(done, f"{made / (time.perf_counter() - start):.1f} samples/s")

        manifest = generate(config, count)
    print(f"{config.path}: {done} samples, fingerprint {manifest['fingerprint']}")


if __name__ == "__main__":
    main()
