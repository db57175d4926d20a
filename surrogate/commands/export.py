"""Export a run as one file: `python -m surrogate.export run=runs/mine out=mine.stablehlo`."""

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.hydra_app import command, typed
from surrogate.runs.export import ExportConfig, write_export

ConfigStore.instance().store(name="export_schema", node=ExportConfig)


@command("export")
def main(composed: DictConfig) -> None:
    """Turn the config into an `ExportConfig`, export, and say what was written."""
    use_compilation_cache()
    out, content = write_export(typed(composed, ExportConfig))
    print(f"{out}: {content['artifact']['bytes'] / 1e6:.1f} MB, described in {out.name}.json")
    if difference := content.get("difference"):
        print(
            f"Against the model, relative L2: {difference['prediction']:.1e}, its gradient {difference['gradient']:.1e}"
        )
