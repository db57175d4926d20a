"""What is kept of a simulation: which records, how densely in time, and in which precision.

Half precision. A record is stored as `x 2^k` in float16, with `2^-k` beside it as `<name>_scale`, one for each sample;
k brings the largest value into [2^14, 2^15), next to float16's largest, 65504. Scaling by a power of two is exact, so
decoding errs by float16's rounding alone: at most 2^-11 of each value down to 2^-28 of the sample's largest, and below
that at most 2^-39 of the largest, which is under what float32 rounds off beside it. Nothing overflows.

Decimation. Every n-th time step of a gather keeps the frequencies below 1 / (2 n dt): `make_recording` refuses
wavelets that reach higher, instead of filtering what need not be filtered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY

RECORDS = ("snapshots", "gathers", "harmonic", "tangents")
PRECISIONS = ("float32", "float16")
LARGEST_EXPONENT = 15  # stored values stay below 2^15


@dataclass(frozen=True)
class Recording:
    """kinds: of `RECORDS`. gather_every: of the time steps, which a gather keeps. precision: of the stored records.

    directions: of a sample's tangents.
    """

    kinds: tuple[str, ...]
    gather_every: int = 1
    precision: str = "float32"
    directions: int = 1

    def encode(self, records: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Records of one sample as they are stored: in half precision each with its `_scale`."""
        if self.precision == "float32":
            return dict(records)
        encoded: dict[str, jax.Array] = {}
        for name, values in records.items():
            # A silent record has the exponent 0, so its scale is finite too.
            _, exponent = jnp.frexp(jnp.max(jnp.abs(values)))
            shift = LARGEST_EXPONENT - exponent
            encoded[name] = jnp.ldexp(values, shift).astype(jnp.float16)
            encoded[f"{name}_scale"] = jnp.ldexp(jnp.ones((), values.dtype), -shift)
        return encoded


def decode(record: Mapping[str, Any], name: str, shot: int | slice = slice(None)) -> np.ndarray:
    """The values [float32] of one kind of record, of one shot or all, whatever precision it is stored in."""
    values = np.asarray(record[name])[shot]
    if values.dtype == np.float16:
        return values.astype(np.float32) * np.float32(record[f"{name}_scale"])
    return values


def make_recording(
    kinds: Sequence[str],
    gather_every: int,
    precision: str,
    *,
    dt: float,
    peak_frequency: float,
    frequencies: Sequence[float] = (),
    directions: int = 1,
) -> Recording:
    """The checked recording of a simulation with steps `dt` [s] and wavelets up to `peak_frequency` [Hz].

    frequencies: of its time-harmonic fields [Hz].

    Raises `InputError` for an unknown kind or precision, none at all, gathers that would be aliased, frequencies that
    are missing or that the wavelets do not reach, or tangents of no snapshots or along no direction.
    """
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(RECORDS):
        raise InputError(f"data.records must name one or more of {', '.join(RECORDS)}, each once, but is {kinds}.")
    if precision not in PRECISIONS:
        raise InputError(f"data.precision must be one of {', '.join(PRECISIONS)}, but is {precision!r}.")
    if gather_every < 1:
        raise InputError(f"data.gather_every must be at least 1, but is {gather_every}.")
    highest = HIGHEST_FREQUENCY * peak_frequency
    if "gathers" in kinds and not 0.5 / (gather_every * dt) > highest:
        raise InputError(
            f"Gathers would be aliased: one in {gather_every} steps of {dt:g} s keeps the frequencies below "
            f"{0.5 / (gather_every * dt):g} Hz, but the wavelets reach {highest:g} Hz ({HIGHEST_FREQUENCY:g} times "
            f"their peak frequency). Set data.gather_every to at most {max(1, int(np.ceil(0.5 / (highest * dt))) - 1)}."
        )
    if "harmonic" in kinds and not (frequencies and max(frequencies) <= highest):
        raise InputError(
            "Time-harmonic fields need frequencies that the wavelets have, but data.frequencies is "
            f"{list(frequencies)} and the wavelets reach {highest:g} Hz ({HIGHEST_FREQUENCY:g} times their peak "
            "frequency). Set data.frequencies, or raise data.peak_frequency."
        )
    if "tangents" in kinds and not (directions >= 1 and "snapshots" in kinds):
        raise InputError(
            "Tangents are derivatives of the snapshots along one or more directions: data.records must hold snapshots "
            f"too and data.directions be at least 1, but they are {list(kinds)} and {directions}."
        )
    ordered = tuple(kind for kind in RECORDS if kind in kinds)
    return Recording(ordered, gather_every, precision, directions)
