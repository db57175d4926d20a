"""Select the stored records of a simulation: their kinds, their sampling in time, and their precision.

Half precision. A record is stored as `x 2^k` in float16, together with `2^-k` as `<name>_scale`, one for each sample.
The exponent k brings the largest value into [2^14, 2^15), close to float16's largest, 65504, so no value overflows.
Scaling by a power of two is exact, so the only error is float16's rounding: at most 2^-11 of each value down to 2^-28
of the sample's largest, and below that at most 2^-39 of the largest, which is less than float32 rounds off when it is
added to the largest.

Decimation. Every n-th time step of a gather keeps the frequencies below 1 / (2 n dt). `make_recording` refuses
wavelets with higher frequencies, so that no filter is needed.
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
    """Describe the stored records of a simulation.

    Attributes:
        kinds: Kinds of records, from `RECORDS`.
        gather_every: Time steps between stored samples of a gather.
        precision: Precision of the stored records, from `PRECISIONS`.
        directions: Number of directions along which tangents are taken.
    """

    kinds: tuple[str, ...]
    gather_every: int = 1
    precision: str = "float32"
    directions: int = 1

    def encode(self, records: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Convert the records of one sample to the stored precision.

        Args:
            records: Arrays by kind.

        Returns:
            The same arrays; in half precision each has an additional entry `<kind>_scale`.
        """
        if self.precision == "float32":
            return dict(records)
        encoded: dict[str, jax.Array] = {}
        for name, values in records.items():
            # A record of zeros has the exponent 0, so its scale is also finite.
            _, exponent = jnp.frexp(jnp.max(jnp.abs(values)))
            shift = LARGEST_EXPONENT - exponent
            encoded[name] = jnp.ldexp(values, shift).astype(jnp.float16)
            encoded[f"{name}_scale"] = jnp.ldexp(jnp.ones((), values.dtype), -shift)
        return encoded


def decode(record: Mapping[str, Any], name: str, shot: int | slice = slice(None)) -> np.ndarray:
    """Decode one kind of record to float32, whichever precision it is stored in.

    Args:
        record: A stored sample.
        name: Kind of the record.
        shot: Index or slice of shots; by default all.

    Returns:
        The values of these shots.
    """
    values = np.asarray(record[name])[shot]
    if values.dtype == np.float16:
        return values.astype(np.float32) * np.float32(record.get(f"{name}_scale", 1.0))
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
    """Check the choice of records and make a `Recording`.

    Args:
        kinds: Kinds of records, from `RECORDS`.
        gather_every: Time steps between stored samples of a gather.
        precision: Precision of the stored records, from `PRECISIONS`.
        dt: Time step of the simulation [s].
        peak_frequency: Highest peak frequency of the wavelets [Hz].
        frequencies: Frequencies of the time-harmonic fields [Hz].
        directions: Number of directions along which tangents are taken.

    Returns:
        The recording, with kinds in the order of `RECORDS`.

    Raises:
        InputError: If a kind or the precision is unknown, there is no kind, gathers would be aliased, frequencies are
            missing or above those of the wavelets, or tangents have no snapshots or no direction.
    """
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(RECORDS):
        raise InputError(f"data.records must name one or more of {', '.join(RECORDS)}, each once, but is {kinds}.")
    if precision not in PRECISIONS:
        raise InputError(f"data.precision must be one of {', '.join(PRECISIONS)}, but is {precision!r}.")
    if gather_every < 1:
        raise InputError(f"data.gather_every must be at least 1, but is {gather_every}.")
    highest = HIGHEST_FREQUENCY * peak_frequency
    if "gathers" in kinds and not 0.5 / (gather_every * dt) > highest:
        every = int(np.ceil(0.5 / (highest * dt))) - 1
        remedy = f"data.gather_every to at most {every}" if every else f"data.dt below {0.5 / highest:.3g} s"
        raise InputError(
            f"Gathers would be aliased: one in {gather_every} steps of {dt:g} s keeps the frequencies below "
            f"{0.5 / (gather_every * dt):g} Hz, but the wavelets reach {highest:g} Hz ({HIGHEST_FREQUENCY:g} times "
            f"their peak frequency). Set {remedy}."
        )
    if "harmonic" in kinds and not (frequencies and max(frequencies) <= highest):
        raise InputError(
            "Time-harmonic fields need frequencies that the wavelets contain, but data.frequencies is "
            f"{list(frequencies)} and the wavelets reach {highest:g} Hz ({HIGHEST_FREQUENCY:g} times their peak "
            "frequency). Set data.frequencies, or raise data.peak_frequency."
        )
    if "tangents" in kinds and not (directions >= 1 and "snapshots" in kinds):
        raise InputError(
            "Tangents are derivatives of the snapshots along one or more directions: data.records must contain "
            f"snapshots and data.directions must be at least 1, but they are {list(kinds)} and {directions}."
        )
    ordered = tuple(kind for kind in RECORDS if kind in kinds)
    return Recording(ordered, gather_every, precision, directions)
