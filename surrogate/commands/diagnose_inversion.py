"""Find why an inversion's result is poor: `wave diagnose invert observed=shots.sgy`, with the keys of `wave invert`."""

from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import stages
from data_gen.common.hydra_app import command
from surrogate.commands.invert import checked
from surrogate.config import register
from surrogate.runs.diagnose_inversion import run_diagnosis

register()


@command("invert", "out", "run", "observed", "real.path")
def main(composed: DictConfig) -> None:
    """Show the diagnosis of an inversion, and exit: with status 1 if a finding is an error.

    Args:
        composed: Config that Hydra composed, of the schema `InvertConfig`.

    Raises:
        SystemExit: Always.
    """
    use_compilation_cache()
    config = checked(composed)
    with stages(f"diagnose {config.out}") as show:
        found = run_diagnosis(config, show)
    found.settings.show("Simulation of the start")
    found.inversion.show("Inversion")
    print(f"Report: {found.page}")
    raise SystemExit(not (found.settings.ok and found.inversion.ok))
