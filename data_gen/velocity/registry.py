"""List the families of velocity models by name, and make them from a config.

A family is one file in `data_gen/velocity/families` and one line in `FAMILIES`;
docs/guides/velocity.md shows all of them.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from math import inf
from typing import Any

from data_gen.common.errors import InputError
from data_gen.velocity.density import gardner
from data_gen.velocity.families.crops import Crops
from data_gen.velocity.families.faulted_layers import FaultedLayers
from data_gen.velocity.families.gaussian_lens import GaussianLens
from data_gen.velocity.families.gaussian_random_field import GaussianRandomField
from data_gen.velocity.families.inclusions import Inclusions
from data_gen.velocity.families.layered import Layered
from data_gen.velocity.families.salt import Salt
from data_gen.velocity.families.style import Style
from data_gen.velocity.mixture import Family, Mixture
from data_gen.velocity.water import add_water

__all__ = [
    "FAMILIES",
    "Family",
    "Mixture",
    "add_water",
    "drawn_families",
    "gardner",
    "make_family",
    "make_mixture",
    "pin_files",
]

_HARD: dict[str, Any] = {"min_layers": 4, "max_layers": 8, "ordered": False}
_ONE_FAULT: dict[str, Any] = {"min_faults": 1, "max_faults": 1, "min_layers": 3}
_MORE_FAULTS: dict[str, Any] = {"min_faults": 2, "max_faults": 3, **_HARD}

# Name in a config -> class, with the parameters that differ from the defaults of the class.
FAMILIES: dict[str, partial[Family]] = {
    "flat_vel_a": partial(Layered),
    "flat_vel_b": partial(Layered, **_HARD),
    "curve_vel_a": partial(Layered, curved=True),
    "curve_vel_b": partial(Layered, curved=True, **_HARD),
    "flat_fault_a": partial(Layered, **_ONE_FAULT),
    "flat_fault_b": partial(Layered, **_MORE_FAULTS),
    "curve_fault_a": partial(Layered, curved=True, **_ONE_FAULT),
    "curve_fault_b": partial(Layered, curved=True, **_MORE_FAULTS),
    "style_a": partial(Style),
    "style_b": partial(Style, smoothness=0.015, strata=8.0),
    "gaussian_random_field": partial(GaussianRandomField),
    "anisotropic_random_field": partial(GaussianRandomField, correlation_length=30.0, anisotropy=5.0),
    "gaussian_lens": partial(GaussianLens),
    "salt": partial(Salt),
    "inclusions": partial(Inclusions),
    "faulted_layers": partial(FaultedLayers),
    "crops": partial(Crops),
}


def _coerced(value: Any, default: Any) -> Any:
    """Convert a value to the type of the default; raise `TypeError` or `ValueError` if that would change the value."""
    if isinstance(default, bool) and not isinstance(value, bool):
        raise TypeError("expected true or false")
    coerced = type(default)(value)
    if isinstance(default, int) and coerced != float(value):
        raise ValueError("expected an integer")
    return coerced


def make_family(name: str, options: Mapping[str, Any]) -> Family:
    """Make a family from its entry in a config.

    Args:
        name: Name of the entry, and of the family unless the options have the key `family`.
        options: Parameters of the family; `family` names the family if the entry has another name.

    Returns:
        The family.

    Raises:
        InputError: If the family or a parameter is unknown, a value has the wrong type, or the velocities are not an
            ascending range in m/s.
    """
    options = dict(options)
    kind = options.pop("family", name)
    if kind not in FAMILIES:
        raise InputError(
            f"Unknown family of velocity models {kind!r}: choose from {', '.join(FAMILIES)}. An entry with another "
            "name needs the key `family`, which names one of them. A family of your own has to be imported first "
            "(docs/guides/extending.md)."
        )
    make = FAMILIES[kind]
    known = {field.name: field.default for field in fields(make.func)}  # pyright: ignore[reportArgumentType]
    if unknown := set(options) - set(known):
        raise InputError(f"Unknown {name} parameters {sorted(unknown)}: it takes weight, family, {', '.join(known)}.")
    for key, value in options.items():
        try:
            options[key] = _coerced(value, known[key])
        except (TypeError, ValueError) as error:
            kinds = {bool: "true or false", int: "integers", float: "numbers", str: "text"}
            raise InputError(
                f"The parameters of family {name} must be {kinds[type(known[key])]}, but {key} is {value!r}."
            ) from error
    family = make(**options)
    low, high = family.min_velocity, family.max_velocity
    if not 0 < low < high:
        raise InputError(f"Family {name} needs 0 < min_velocity < max_velocity in m/s, but got {low} and {high}.")
    if high < 20:
        raise InputError(
            f"Family {name} spans {low:g} to {high:g}, which looks like km/s. Velocities are in m/s: multiply by 1000."
        )
    return family


def make_mixture(config: Mapping[str, Any]) -> Mixture:
    """Make a mixture of families from a config.

    Args:
        config: Entries `{name: {weight: ..., family: ..., parameter: ...}}`. The default weight is 1; an entry of
            weight 0 is left out.

    Returns:
        The mixture, with weights that add up to 1.

    Raises:
        InputError: If a weight is no number, negative, or all are zero, or if `make_family` refuses an entry.
    """
    made: dict[str, tuple[Family, float]] = {}
    for name, options in _entries(config).items():
        weight = options.pop("weight", 1.0)
        try:
            weight = _coerced(weight, 1.0)
        except (TypeError, ValueError) as error:
            raise InputError(f"The weight of family {name} must be a number, but is {weight!r}.") from error
        if not 0 <= weight < inf:
            raise InputError(f"The weight of family {name} must be 0 or more and finite, but is {weight}.")
        if weight > 0:
            made[name] = make_family(name, options), weight
    if not made:
        raise InputError(f"At least one family of positive weight is needed: choose from {', '.join(FAMILIES)}.")
    families, weights = zip(*made.values(), strict=True)
    return Mixture(families, tuple(weight / sum(weights) for weight in weights), tuple(made))


def _entries(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Copy the entries of a mixture; an entry may be empty."""
    for name, entry in config.items():
        if not isinstance(entry, Mapping | None):
            raise InputError(f"Family {name} needs its parameters, such as {{weight: 1}}, but has {entry!r}.")
    return {name: dict(entry or {}) for name, entry in config.items()}


def drawn_families(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Select the families that are drawn: an entry of weight 0 changes no model.

    Args:
        config: Entries as for `make_mixture`.

    Returns:
        The entries without those of weight 0.
    """
    return {name: entry for name, entry in _entries(config).items() if entry.get("weight", 1) != 0}


def pin_files(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Select the families that are drawn, and add the `sha256` of every model file to them.

    A manifest holds the result: a mixture made from it refuses a file whose content has changed.

    Args:
        config: Entries as for `make_mixture`.

    Returns:
        The entries that are drawn, those of the family `crops` with `sha256`.
    """
    pinned = drawn_families(config)
    for name, options in pinned.items():
        if options.get("family", name) == "crops":
            family = make_family(name, {key: value for key, value in options.items() if key != "weight"})
            options["sha256"] = family.sha256  # pyright: ignore[reportAttributeAccessIssue]
    return pinned
