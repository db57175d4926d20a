"""Invert data for a velocity model: `python invert.py experiment=gathers forward=physics out=runs/fwi`."""

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from data_gen.caching import use_compilation_cache
from data_gen.console import print_tables, progress_bar
from data_gen.errors import one_paragraph
from surrogate.config import InvertConfig, register, typed
from surrogate.inversion_run import run_inversion
from surrogate.report import write_report

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="invert")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into an `InvertConfig`, invert, and print the table."""
    use_compilation_cache()
    config = typed(composed, InvertConfig)
    with progress_bar(f"invert {Path(config.out).name}", config.inversion.iterations) as update:
        start = time.perf_counter()

        def show(iteration: int, values: dict[str, float]) -> None:
            rate = iteration / (time.perf_counter() - start)
            status = [f"{name.replace('_', ' ')} {values[name]:.2g}" for name in ("misfit", "model_error") if values]
            update(iteration, ", ".join([*status, f"{rate:.1f} iterations/s"]))

        run_inversion(config, show)
    print_tables(*write_report(config.out))


if __name__ == "__main__":
    main()
