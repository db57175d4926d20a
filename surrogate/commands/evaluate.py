"""Evaluate a trained run on held-out samples: `wave evaluate run=runs/mine`, or `python evaluate.py run=runs/mine`."""

from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import print_next, print_tables, stages
from data_gen.common.hydra_app import command, typed
from surrogate.config import EvaluateConfig, register
from surrogate.protocols import ForwardTask
from surrogate.report.page import write_report
from surrogate.runs.evaluate import evaluate
from surrogate.runs.folder import read_run

register()


@command("evaluate", "run")
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
    run = read_run(config.run)
    if isinstance(run.task.create(run.data.create()), ForwardTask):
        print_next(f"wave invert forward=surrogate run={config.run} out=runs/mine")
    else:
        print_next(f"wave export-model run={config.run} out={config.run}.stablehlo (one file that JAX alone runs)")
