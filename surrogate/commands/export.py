"""Export a trained run as one file: `wave export-model run=runs/mine out=mine.stablehlo`."""

from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.hydra_app import command, store, typed
from surrogate.runs.export import ExportConfig, write_export

store("export_schema", ExportConfig)


@command("export", "run")
def main(composed: DictConfig) -> None:
    """Export a run, and report what was written.

    Args:
        composed: Config that Hydra composed, of the schema `ExportConfig`.
    """
    use_compilation_cache()
    out, content = write_export(typed(composed, ExportConfig))
    print(f"{out}: {content['artifact']['bytes'] / 1e6:.1f} MB, described in {out.name}.json")
    if difference := content.get("difference"):
        print(
            f"Against the model, relative L2: {difference['prediction']:.1e}, its gradient {difference['gradient']:.1e}"
        )
