"""Write the `--help` of a command that Hydra configures: its groups of presets, and every key, one a line."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from data_gen.common.config_docs import keys_of

DRY_RUN = "--dry-run"
DRY_RUN_LINE = f"  {DRY_RUN}            begin in a temporary folder, and say how long the whole takes\n"
OPTIONS = """\
options:
  --cfg job            show the composed config and do nothing else
{dry_run}\
  --config-dir FOLDER  find presets in this folder, too (FOLDER/data/mine.yaml is data=mine)
  -m, --multirun       run once for every combination of values: KEY=VALUE,VALUE
  --hydra-help         explain Hydra's own options
"""


class Command:
    """Compose the config of a command, to describe it.

    Args:
        folder: Folder of configs.
        config_name: Root config of the command.
        own: Folder of the user's own presets, `--config-dir`; None if there is none.
        paths: Keys that a path on the command line may be meant for.
        dry_run: Whether it has a dry run.
    """

    def __init__(
        self,
        folder: Path,
        config_name: str,
        own: str | None = None,
        paths: Sequence[str] = (),
        *,
        dry_run: bool = False,
    ):
        self.paths, self.dry_run = tuple(paths), dry_run
        self.folder, self.config_name, self.own = folder, config_name, Path(own).absolute() if own else None
        root = OmegaConf.load(folder / f"{config_name}.yaml")
        assert isinstance(root, DictConfig)
        entries = [dict(entry) for entry in root.defaults if isinstance(entry, DictConfig)]
        self.defaults: dict[str, str | None] = {
            str(name): choice for entry in entries for name, choice in entry.items() if " " not in str(name)
        }

    def compose(self, overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
        """Compose the config with overrides, as Hydra does. Raises Hydra's errors.

        Args:
            overrides: Choices of groups, and values of keys.
            hydra: Whether the config has Hydra's own settings, too.

        Returns:
            The composed config, its type being the schema of the command.
        """
        with initialize_config_dir(str(self.folder), version_base="1.3"):
            path = [f"hydra.searchpath=[file://{self.own}]"] if self.own else []
            return compose(self.config_name, overrides=[*overrides, *path], return_hydra_config=hydra)

    def choices(self, group: str) -> list[str]:
        """List the presets of a group.

        Args:
            group: Name of the group.

        Returns:
            Names that `GROUP=NAME` can choose, in alphabetical order.
        """
        with initialize_config_dir(str(self.folder), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            assert isinstance(loader, ConfigLoaderImpl)  # its own `get_group_options` reads Hydra's config, each time
            found = loader.repository.get_group_options(group, ObjectType.CONFIG)
        own = [file.stem for file in (self.own / group).glob("*.yaml")] if self.own else []
        return sorted(name for name in {*found, *own} if not name.endswith("_schema"))


def help_text(command: Command, description: str, overrides: Sequence[str]) -> str:
    """Explain a command: how it is called, its presets, and its keys with what the overrides make of them.

    Args:
        command: Command to explain.
        description: Description of the command.
        overrides: Overrides that are given together with `--help`.

    Returns:
        Text for a terminal.
    """
    program = _program()
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = [*textwrap.wrap(description, width), "", f"usage: {program} [GROUP=PRESET ...] [KEY=VALUE ...]", ""]

    def add(line: str) -> None:
        lines.extend(textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="      "))

    if command.defaults:
        lines.append("presets:")
        for group, default in command.defaults.items():
            add(f"{group}={default or 'null'}  one of {', '.join(command.choices(group))}")
        lines.append("")
    lines.append("keys, with the values that the presets give them:")
    for key in keys_of(command.compose(overrides)):
        value = "null" if key.value is None else str(key.value).replace("'", "").replace(": ", ":")
        kind = key.kind if key.allowed is None else f"{key.kind}, {key.allowed}"
        add(f"{key.name}={value}  ({kind}) {key.text}".rstrip())
    return "\n".join([*lines, "", OPTIONS.format(dry_run=DRY_RUN_LINE * command.dry_run)])


def _program() -> str:
    """How this process was called: `wave train`, `python train.py` or `python -m surrogate.export`."""
    if sys.argv[0].startswith("wave "):
        return sys.argv[0]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else f"python {Path(sys.argv[0]).name}"
