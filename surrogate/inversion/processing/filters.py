"""Filter gathers and wavelets to a band alike, with zero phase or causally.

    y(t) = int h(t - s) x(s) ds,    |H(f)| = 1 from f2 to f3, with cosine flanks to 0 at f1 and f4

    zero      h is even: nothing is late, but a filtered event begins before the event does
    linear    the same h later by a delay D, under a Hann window from 0 to 2 D: causal, and everything is D late. The
              window smooths |H| over 1 / D to each side: D should be twice one over the narrower flank, or more.
    minimum   the causal h of this |H| whose energy comes as early as it can, with |H| no less than FLOOR, since no
              causal response has a band without any amplitude. Its phase is the Hilbert transform of log |H|, by
              folding the cepstrum: A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing (1989), chapter 12

Filtering the wavelet in place of the gathers that it fires gives the same gathers if h is causal, to the last sample:
what arrives is a sum of delayed wavelets, and what a causal filter cuts off at the end of a record comes after it. So
a stage of an inversion filters the observed gathers once, and the wavelet. A zero-phase filter sounds before the
wavelet's first sample, where nothing can be fired: it needs a wavelet that is late by the length of h, about
2 / (f4 - f3). In all three cases the filter is linear, and gathers may be of any unit.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.plain import real, reals, settle
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.wavelets import band_pass, band_response, check_corners
from surrogate.inversion.processing.convolution import convolve

PHASES = ("zero", "linear", "minimum")
FLOOR = 1e-4  # least gain of a filter of minimum phase


@dataclass(frozen=True)
class Band:
    """Describe a band-pass or low-pass filter; it is hashable, and fits any record.

    Attributes:
        corners: Frequencies (f1, f2, f3, f4) [Hz]: the gain rises from f1 to f2, is 1 to f3 and falls to 0 at f4;
            f1 = f2 = 0 is a low-pass.
        phase: `zero`, `linear` or `minimum`; see the module.
        delay: Delay of the linear phase [s], by which picks and mutes of filtered data move; 0 with the others.

    Raises:
        InputError: If there is no such phase, or the delay does not fit it.
    """

    corners: tuple[float, ...]
    phase: str = "zero"
    delay: float = 0.0

    def __post_init__(self):
        settle(self, {"corners": reals, "delay": real})
        if self.phase not in PHASES:
            raise InputError(f"The phase of a band must be one of {', '.join(PHASES)}, but is {self.phase!r}.")
        if (self.phase == "linear") != (self.delay > 0) or self.delay < 0:
            raise InputError(
                f"A band of phase {self.phase!r} cannot have the delay {self.delay:g} s. Give a positive delay in "
                "seconds with the phase 'linear', and none with the others."
            )

    def causal_response(self, nt: int, dt: float) -> Float[np.ndarray, " nt"]:
        """Compute the response of a causal phase at the lags 0 to nt - 1.

        Args:
            nt: Number of samples of a record.
            dt: Time from one sample to the next [s].

        Returns:
            The response `(nt,)`.
        """
        if self.phase == "minimum":
            return _minimum_phase(self.corners, nt, dt)
        times = np.arange(nt) * dt - self.delay
        window = np.where(np.abs(times) < self.delay, np.cos(np.pi / 2 * times / self.delay) ** 2, 0.0)
        return dt * band_response(times, self.corners) * window


def band_gain(frequencies: Float[np.ndarray, " n"], corners: tuple[float, ...]) -> Float[np.ndarray, " n"]:
    """Evaluate the gain |H| of a band.

    Args:
        frequencies: Frequencies `(n,)` [Hz], not negative.
        corners: Frequencies (f1, f2, f3, f4) [Hz].

    Returns:
        The gain `(n,)`.
    """
    f1, f2, f3, f4 = corners
    rise = np.clip((frequencies - f1) / (f2 - f1), 0, 1) if f2 > 0 else np.ones_like(frequencies)
    fall = np.clip((f4 - frequencies) / (f4 - f3), 0, 1)
    return (1 - np.cos(np.pi * rise)) * (1 - np.cos(np.pi * fall)) / 4


def _minimum_phase(corners: tuple[float, ...], nt: int, dt: float) -> np.ndarray:
    """Compute the causal response of least delay whose gain is the band's or FLOOR."""
    f1, f2, f3, f4 = corners
    narrowest = min(f4 - f3, f2 - f1 if f2 > 0 else np.inf)
    # The logarithm of the gain falls to the floor within a fiftieth of a flank: the cepstrum is that much longer.
    size = 1 << int(np.ceil(np.log2(max(16 * nt, 256 / (narrowest * dt)))))
    gain = np.maximum(band_gain(np.fft.rfftfreq(size, dt), corners), FLOOR)
    cepstrum = np.fft.irfft(np.log(gain), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[:nt]


def filter_traces(data: Float[Array, "*shape"], dt: float, band: Band, axis: int = -1) -> Float[Array, "*shape"]:
    """Filter traces to a band. Linear in `data`.

    Args:
        data: Traces, which are zero outside their samples.
        dt: Time from one sample to the next [s].
        band: The band.
        axis: Axis of time.

    Returns:
        The filtered traces, of the same shape.

    Raises:
        InputError: If the corners do not ascend, or reach the Nyquist frequency.
    """
    check_corners(band.corners, dt)
    if band.phase == "zero":
        return jnp.moveaxis(band_pass(jnp.moveaxis(data, axis, -1), dt, band.corners), -1, axis)
    return convolve(data, band.causal_response(data.shape[axis], dt), axis=axis)


def filter_gathers(
    gathers: Float[Array, "n_shots nt n_receivers"], dt: float, band: Band
) -> Float[Array, "n_shots nt n_receivers"]:
    """Filter gathers to a band.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        dt: Time from one sample to the next [s].
        band: The band.

    Returns:
        The filtered gathers `(n_shots, nt, n_receivers)`.

    Raises:
        InputError: If the corners do not ascend, or reach the Nyquist frequency.
    """
    return filter_traces(gathers, dt, band, axis=1)


def filter_wavelets(survey: Survey, dt: float, band: Band) -> Survey:
    """Filter the wavelets of a survey to a band: what it fires is then filtered, too.

    Args:
        survey: The survey.
        dt: Time from one sample to the next [s].
        band: The band; with zero phase, the wavelets must be late enough (see the module).

    Returns:
        The survey with filtered wavelets.

    Raises:
        InputError: If the corners do not ascend, or reach the Nyquist frequency.
    """
    return survey._replace(wavelets=filter_traces(jnp.asarray(survey.wavelets), dt, band))
