"""Make a command of a function with Hydra: the folder of configs, the schemas, help, errors, and the typed config."""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_gen.common.errors import InputError, one_paragraph
from data_gen.common.hydra_dictionaries import replace_dictionaries
from data_gen.common.hydra_errors import check_choices, explain, nearest
from data_gen.common.hydra_help import DRY_RUN, Command, help_text
from data_gen.common.ranges import check_all

Schema = TypeVar("Schema")
CONFIG_NAMES: dict[str, str] = {}  # root config of each module that has a command
DRY_RUNS: set[str] = set()  # modules whose command has a dry run


def configs_folder() -> Path:
    """Find the folder of configs: inside the installed package, or next to the packages of a checkout.

    Returns:
        The folder.

    Raises:
        InputError: There is none; another project's folder of that name is not taken for it.
    """
    packaged, checkout = Path(__file__).parents[1] / "configs", Path(__file__).parents[2]
    if packaged.is_dir():
        return packaged
    if not (checkout / "pyproject.toml").is_file():
        raise InputError(f"The folder of configs, {packaged}, is missing. Install the package again.")
    return checkout / "configs"


def store(name: str, schema: Any, group: str | None = None) -> None:
    """Make a schema known to Hydra, for a config that lists it among its defaults.

    Args:
        name: Name that configs give it.
        schema: Dataclass, or a structured config made of one.
        group: Group of presets that it belongs to; None for the schema of a command.
    """
    node = OmegaConf.structured(schema)
    replace_dictionaries(node)
    ConfigStore.instance().store(name=name, node=node, group=group)


def command(
    config_name: str, *paths: str, dry_run: Callable[[DictConfig], None] | None = None
) -> Callable[[Callable[[DictConfig], Any]], Callable[..., Any]]:
    """Make a command of a function that takes a composed config.

    The command reads `sys.argv`. Its `--help` explains every key; an override that cannot be used, and every error of
    `data_gen.common.errors`, ends it with one paragraph and exit status 1.

    Args:
        config_name: Root config of the command, `configs/{config_name}.yaml`.
        *paths: Keys that a path without a key may be meant for.
        dry_run: Function of the composed config that `--dry-run` calls instead; None where there is none.

    Returns:
        A decorator for the function. The module of the function says in its docstring what the command does.
    """
    folder = configs_folder()

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[..., Any]:
        CONFIG_NAMES[main.__module__] = config_name
        if dry_run is not None:
            DRY_RUNS.add(main.__module__)
        configured = hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)
        run = configured(one_paragraph(main))

        @functools.wraps(main)
        @one_paragraph
        def entry(composed: DictConfig | None = None) -> Any:
            if composed is not None:
                return run(composed)
            if dry := DRY_RUN in sys.argv[1:]:
                sys.argv.remove(DRY_RUN)
            arguments, rest = get_args_parser().parse_known_args(sys.argv[1:])
            if late := [argument for argument in rest if not argument.startswith("-")]:
                raise InputError(
                    f"{late[0]!r} stands after an option that follows other KEY=VALUE. Put options, such as -m, before "
                    "all KEY=VALUE."
                )
            if dry and (dry_run is None or arguments.multirun):
                raise InputError(
                    f"{DRY_RUN} is for one run of generate, train or invert, "
                    f"{'but this is a sweep' if arguments.multirun else 'but this is another command'}. Leave it out; "
                    "--cfg job shows the composed config and does nothing else."
                )
            described = Command(folder, config_name, arguments.config_dir, paths, dry_run=dry_run is not None)
            wanted = os.environ.get("HYDRA_FULL_ERROR")
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print
            try:
                if arguments.help:
                    print(help_text(described, inspect.getdoc(inspect.getmodule(main)) or "", arguments.overrides))
                else:
                    check_choices(described, arguments.overrides)
                    configured(one_paragraph(dry_run))() if dry and dry_run else run()
            except (HydraException, OmegaConfBaseException) as error:
                if wanted == "1":
                    raise
                raise InputError(explain(error, described, arguments.overrides)) from None
            finally:
                os.environ.pop("HYDRA_FULL_ERROR")
                if wanted is not None:
                    os.environ["HYDRA_FULL_ERROR"] = wanted

        return entry

    return decorate


def typed(config: DictConfig, schema: type[Schema], *, stored: bool = False) -> Schema:
    """Convert a composed config to the dataclass that it describes, and check the values of its fields.

    Args:
        config: Composed config.
        schema: Dataclass.
        stored: Whether it comes from a file that an earlier version may have written, whose values are not checked.

    Returns:
        An object of that class.

    Raises:
        InputError: The config has a key that the schema has not (`+KEY=VALUE` can add such keys), or a value is outside
            its range.
    """
    _refuse_unknown(config)
    result = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    if not stored:
        check_all(result)
    return result


def _refuse_unknown(config: DictConfig, prefix: str = "") -> None:
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema) or config._is_none():
        return
    known = [prefix + field.name for field in fields(schema)]
    for name in map(str, config):
        key = prefix + name
        if key not in known:
            raise InputError(f"Unknown key {key!r}.{nearest(key, known)} `--help` explains every key.")
        node = config._get_node(name)
        if isinstance(node, DictConfig):
            _refuse_unknown(node, f"{key}.")
