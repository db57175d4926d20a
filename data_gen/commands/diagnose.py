"""Diagnose the first training sample of a data set: `python -m data_gen.diagnose data=demo`."""

import warnings

from omegaconf import DictConfig

from data_gen.commands.generate import register
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.hydra_app import command, typed
from data_gen.dataset.config import DataConfig
from data_gen.solver.diagnosis import diagnose
from data_gen.solver.problem.checks import DispersionWarning


def report(config: DataConfig) -> None:
    """Show the diagnosis of a data set's first training sample, `batch_size` of them at once; status 1 on an error."""
    use_compilation_cache()
    warnings.simplefilter("ignore", DispersionWarning)  # it is one of the findings
    spec = config.create()
    drawn = spec.draw(spec.key(0, 0))
    survey = spec.survey(drawn.sources, drawn.wavelet, receivers="gathers" in spec.recording.kinds)
    models = config.batch_size
    diagnosis = diagnose(drawn.velocity, survey, spec.simulation, density=drawn.density, models=models, measure=True)
    diagnosis.show(f"First training sample of {config.path}, {config.batch_size} at once")
    raise SystemExit(not diagnosis.ok)


register()


@command("generate")
def main(composed: DictConfig) -> None:
    """Turn the config into a `DataConfig` and show its diagnosis."""
    report(typed(composed.data, DataConfig))
