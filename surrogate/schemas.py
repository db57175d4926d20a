"""Choose the settings of a task, an encoding or an operator by the name that a config gives."""

from collections.abc import Mapping
from typing import Any, TypeVar

from data_gen.common.errors import InputError

Schema = TypeVar("Schema")


def check_name(group: str, config: Any) -> None:
    """Refuse settings under the name of another entry.

    Args:
        group: Field of the config, such as `task`.
        config: Settings, whose class has their own name as the default.

    Raises:
        InputError: If the name is not that of the settings.
    """
    if config.name != type(config).name:
        raise InputError(
            f"{group}.name = {config.name!r} stands in the settings of {type(config).name!r}. The name only records "
            f"what the settings belong to; choose another with {group}={config.name}."
        )


def schema_of(group: str, schemas: Mapping[str, type[Schema]], name: object) -> type[Schema]:
    """Return the settings that belong to a name.

    Args:
        group: Field of the config, such as `task`.
        schemas: Registry: classes of settings by name.
        name: Name to look up.

    Returns:
        The class of settings.

    Raises:
        InputError: If there is no such name.
    """
    if not isinstance(name, str) or name not in schemas:
        raise InputError(
            f"Unknown {group} {name!r}: {group}.name must be one of {', '.join(schemas)}. A module of yours that adds "
            "another has to be imported first (docs/guides/extending.md)."
        )
    return schemas[name]
