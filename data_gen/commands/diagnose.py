"""Check the settings of a data set's simulation on its first training sample: `wave diagnose data=demo`."""

import warnings

from omegaconf import DictConfig

from data_gen.commands.generate import GenerateConfig, register
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.hydra_app import command, typed
from data_gen.dataset.config import DataConfig
from data_gen.solver.diagnosis import diagnose
from data_gen.solver.problem.checks import BandWarning, DispersionWarning, GrowthWarning


def report(config: DataConfig) -> None:
    """Show the diagnosis of a data set's first training sample, and exit: with status 1 if a finding is an error.

    Args:
        config: Data set; `batch_size` of its samples are simulated at once.

    Raises:
        SystemExit: Always.
    """
    use_compilation_cache()
    for finding in (BandWarning, DispersionWarning, GrowthWarning):  # all are among the findings
        warnings.simplefilter("ignore", finding)
    spec = config.create()
    drawn = spec.draw(spec.key(0, 0))
    survey = spec.survey(drawn.sources, drawn.wavelet, receivers="gathers" in spec.recording.kinds)
    models = config.batch_size
    diagnosis = diagnose(drawn.velocity, survey, spec.simulation, density=drawn.density, models=models, measure=True)
    diagnosis.show(f"First training sample of {config.path}, {config.batch_size} at once")
    raise SystemExit(not diagnosis.ok)


register()


@command("generate", "data.path")
def main(composed: DictConfig) -> None:
    """Show the diagnosis of a data set.

    Args:
        composed: Config that Hydra composed, of the schema `GenerateConfig`.
    """
    report(typed(composed, GenerateConfig).data)
