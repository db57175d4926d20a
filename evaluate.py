"""Evaluate a trained run: `python evaluate.py run=runs/mine [other=data/finer] [real.path=model.npy real.spacing=25]`.

other: another data set, of other models or (wavefields) on another grid; see docs/operators.md.
"""

import hydra
from omegaconf import DictConfig

from data_gen.caching import use_compilation_cache
from data_gen.console import print_tables, stages
from data_gen.errors import one_paragraph
from surrogate.config import EvaluateConfig, register, typed
from surrogate.evaluation import evaluate
from surrogate.report import write_report

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="evaluate")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into an `EvaluateConfig`, evaluate, and print the tables."""
    use_compilation_cache()
    config = typed(composed, EvaluateConfig)
    with stages(f"evaluate {config.run}") as show:
        evaluate(config, show)
    print_tables(*write_report(config.run))


if __name__ == "__main__":
    main()
