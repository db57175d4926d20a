"""Evaluate a trained run: `python evaluate.py run=runs/mine [other=data/finer] [real.path=model.npy real.spacing=25]`.

other: another data set, of other models or (wavefields) on another grid; see docs/guides/operators.md.
"""

from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import print_tables, stages
from data_gen.common.hydra_app import command, typed
from surrogate.config import EvaluateConfig, register
from surrogate.report.page import write_report
from surrogate.runs.evaluate import evaluate

register()


@command("evaluate")
def main(composed: DictConfig) -> None:
    """Turn the config into an `EvaluateConfig`, evaluate, and print the tables."""
    use_compilation_cache()
    config = typed(composed, EvaluateConfig)
    with stages(f"evaluate {config.run}") as show:
        evaluate(config, show)
    print_tables(*write_report(config.run))
