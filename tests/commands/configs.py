"""Every config of the project, and values for its fields, right and wrong, made from what the fields state."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import inf, nextafter
from typing import Any, get_origin, get_type_hints

from data_gen.common.ranges import Choices, Range, stated_range
from data_gen.dataset.config import DataConfig
from data_gen.dataset.executors.local import LocalConfig
from data_gen.dataset.executors.ray import RayConfig
from data_gen.dataset.executors.slurm import SlurmConfig
from data_gen.dataset.recorded import RecordedConfig
from surrogate.config import EvaluateConfig, InitConfig, InvertConfig, RealModelConfig, schemas
from surrogate.devices import ParallelConfig
from surrogate.inversion.config import CorrectedConfig, InversionConfig, MuteConfig, StageConfig
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.inversion.shot_sharding import ShotsConfig
from surrogate.losses.loss import LossConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.mode_schedule import ModeSchedule
from surrogate.training.tracking import TrackingConfig

CONFIGS = [
    *(DataConfig, RecordedConfig, LocalConfig, RayConfig, SlurmConfig),
    *(TrainingConfig, ModeSchedule, LossConfig, TrackingConfig, InitConfig, ParallelConfig),
    *(EvaluateConfig, InvertConfig, RealModelConfig, SetupConfig, ShotsConfig),
    *(InversionConfig, StageConfig, MuteConfig, CorrectedConfig),
    *(schema for group in schemas().values() for schema in group.values()),
]


def ranged_fields(schema: type) -> Iterator[tuple[str, Any, Range]]:
    """Names, types and ranges of the fields that state one."""
    types = get_type_hints(schema)
    for item in fields(schema):
        if (allowed := stated_range(item)) is not None:
            yield item.name, types[item.name], allowed


def takes(kind: Any, one: type) -> bool:
    """Whether a type is another one, or a union or a list that has it."""
    return one in (kind, get_origin(kind)) or any(takes(part, one) for part in getattr(kind, "__args__", ()))


def outside(kind: Any, allowed: Range) -> list[Any]:
    """Values beside a range: past its ends, or beside its choices."""
    if isinstance(allowed.allowed, Choices):
        return ["zzz"] if takes(kind, str) else [-7]
    ends, found = allowed.allowed, []
    whole = takes(kind, int) and not takes(kind, float)
    if ends.low > -inf:
        below = int(ends.low) - 1 if whole else nextafter(ends.low, -inf)
        found += [below] if ends.with_low else [ends.low if not whole else int(ends.low)]
        found.append(below - 10**6)
    if ends.high < inf:
        above = int(ends.high) + 1 if whole else nextafter(ends.high, inf)
        found.append(above if ends.with_high else ends.high)
    if not whole:
        found += [float("nan"), -inf, *([] if ends.with_high and ends.high == inf else [inf])]
    return found


def wrong(kind: Any, allowed: Range) -> list[Any]:
    """Values that a field refuses: beside its range, lists of other lengths, and other types."""
    beside = outside(kind, allowed)
    if not takes(kind, list):
        other = [1.5, True] if takes(kind, int) and not takes(kind, float) else []
        text = [] if takes(kind, str) else ["zzz"]
        return [*beside, *other, *text, [], object()]
    length = allowed.lengths[0] if allowed.lengths else 1
    lists = [[value] * max(length, 1) for value in beside]
    return [*lists, *([[1.0] * (max(allowed.lengths) + 1)] if allowed.lengths else []), 3, "zzz"]


def is_config(value: Any) -> bool:
    """Whether a value is a config of its own, which checks itself."""
    return is_dataclass(value) and not isinstance(value, type)
