"""Evaluate a trained run on held-out samples: `wave evaluate run=runs/mine`, or `python evaluate.py run=runs/mine`."""

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
    """Evaluate a run, write its report, and print the tables.

    Args:
        composed: Config that Hydra composed, of the schema `EvaluateConfig`.
    """
    use_compilation_cache()
    config = typed(composed, EvaluateConfig)
    with stages(f"evaluate {config.run}") as show:
        evaluate(config, show)
    print_tables(*write_report(config.run))
