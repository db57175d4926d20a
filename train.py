"""Train a surrogate: `python train.py encoding=coarse run=runs/mine training.steps=2000`."""

import hydra
from omegaconf import DictConfig

from data_gen.caching import use_compilation_cache
from data_gen.console import progress_bar
from data_gen.errors import one_paragraph
from surrogate.config import TrainConfig, register, typed
from surrogate.host_memory import keep_freed_memory
from surrogate.trainer import fit

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into a `TrainConfig` and fit it, with a progress bar."""
    use_compilation_cache()
    keep_freed_memory()
    config = typed(composed, TrainConfig)
    steps = config.training.steps
    with progress_bar(f"train {config.run}", steps) as update:

        def show(step: int, values: dict[str, float]) -> None:
            status = f"loss {values['loss']:.4f}, {values['samples_per_s']:.1f} samples/s" if values else ""
            update(step, status)

        reached = fit(config, show)
    if reached < steps:
        print(f"Interrupted at step {reached} of {steps}, which is saved. The same command goes on from there.")


if __name__ == "__main__":
    main()
