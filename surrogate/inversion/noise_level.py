"""Compute the misfit that noise alone leaves, at which a stage has fitted all it can: Morozov's discrepancy principle.

    J = sum w^2 (p - o)^2 / sum w^2 o^2         least squares, of predicted data p, observed data o and weights w
    E J = sum w^2 E n^2 / sum w^2 o^2           in the true model, of observed data with noise n of zero mean

A model of less misfit fits noise. A stage filters noise along with the data, by its response h. For stationary noise
of the autocovariance R, which begins with the record,

    E (h * n)^2 (t) = sum over j, k <= t of h_j h_k R_(j - k) = sum over j <= t of h_j (h_j R_0 + 2 sum_i<j h_i R_(j-i))

R is measured in the time before the first waves, from all traces together, or that of white noise: R_0 alone. This
measurement is uncertain. An inversion that stops too late fits noise, one that stops too early only lacks detail, so a
stage stops at the upper end of a confidence interval, DEVIATIONS standard deviations above E J. Those come from leaving
out one of PARTS parts of the traces after the other (jackknife).

Sources: V. A. Morozov, Methods for Solving Incorrectly Posed Problems (1984), chapter 2; B. Efron, R. J. Tibshirani, An
Introduction to the Bootstrap (1993), chapter 11.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.signal import fftconvolve

from data_gen.common.errors import InputError
from surrogate.inversion.config import ESTIMATED, InversionConfig
from surrogate.inversion.diagnosis.gathers import earliest_waves
from surrogate.inversion.diagnosis.noise import quiet_samples
from surrogate.inversion.diagnosis.record import make_record
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.misfits.spectra import padded_length
from surrogate.inversion.stage_data import Narrowing, StageData

PARTS = 20  # of neighboring traces, whose noise may be alike
DEVIATIONS = 2.0  # 97.7 % of normal errors are below
PAIRS = 0.2  # of the quiet samples: lags that fewer pairs of them have are not measured

Covariance = Float[np.ndarray, " n_lags"]


class Noise(NamedTuple):
    """Hold what is known of the noise.

    Attributes:
        covariance: Autocovariance by lag `(n_lags,)`, in the square of the data's unit.
        without: The same from all traces but one part of them, for each part `(n_parts, n_lags)`; none if it is given.
    """

    covariance: Covariance
    without: Float[np.ndarray, "n_parts n_lags"]


def find_noise(
    config: InversionConfig, data: StageData, start: Float[Array, "*fields nz nx"], memory_budget: float | None = None
) -> tuple[Noise | None, int]:
    """Find what an inversion knows of its noise.

    Args:
        config: Settings of the inversion.
        data: Forward model, observed data and weights of the inversion.
        start: Starting model `(nz, nx)` [m/s], or `(2, nz, nx)` where density is free.
        memory_budget: Memory of each device for the simulations [bytes]; None keeps those of the forward model.

    Returns:
        What is known, None where `config.noise` is null, and the number of shots that were simulated for it.

    Raises:
        InputError: If nothing is recorded before the first waves.
    """
    if config.noise is None:
        return None, 0
    if config.noise != ESTIMATED:
        weighed, factors = _weighed(data)
        counted = np.sum(np.broadcast_to(factors**2, weighed.shape))
        covariance = np.array([float(config.noise) ** 2 * np.sum(weighed**2) / counted])
        return Noise(covariance, np.zeros((0, 1))), 0
    forward = replace(check_estimated(data.forward), mesh=None)  # each process for itself
    predicted = np.asarray(jax.jit(forward.within(memory_budget, None)[0].__call__)(start), float)
    weights = None if data.weights is None else np.asarray(data.weights)
    record = make_record(weights, forward, np.asarray(data.observed, float), predicted, config)
    quiet = quiet_samples(earliest_waves(record), predicted.shape[1], record.dt, 1 / record.peak)
    quiet &= record.used[:, None]
    if not quiet.any():
        raise InputError(
            "inversion.noise=estimated measures the noise before the first waves, but no trace has a period of the "
            "waves before them. Give its root mean square relative to that of the data, such as inversion.noise=0.1."
        )
    return measure_noise(record.observed, quiet), len(predicted)


def check_estimated(forward: ForwardModel) -> PhysicsForward:
    """Check that noise can be estimated.

    Args:
        forward: Forward model of the inversion.

    Returns:
        The forward model.

    Raises:
        InputError: If the forward model does not predict gathers by the solver.
    """
    if not isinstance(forward, PhysicsForward) or forward.kind != "gather":
        raise InputError(
            "inversion.noise=estimated measures what gathers hold before the first waves, for which the forward model "
            "must be the solver and inversion.kind=gather. Give the noise's root mean square relative to that of the "
            "data, such as inversion.noise=0.1."
        )
    return forward


def measure_noise(
    gathers: Float[np.ndarray, "n_shots nt n_receivers"], quiet: Bool[np.ndarray, "n_shots nt n_receivers"]
) -> Noise:
    """Measure the autocovariance of noise, from the pairs of samples of each lag in all traces.

    Args:
        gathers: Gathers, finite.
        quiet: Mask of the samples that hold noise alone.

    Returns:
        The noise; the second half of each autocovariance falls to zero.
    """
    nt = gathers.shape[1]
    traces, used = (np.moveaxis(data, 1, 2).reshape(-1, nt) for data in (np.where(quiet, gathers, 0), quiet))
    heard = used.any(axis=1)
    parts = [_products(part) for data in (traces, used.astype(float)) for part in np.array_split(data[heard], PARTS)]
    sums, pairs = np.array(parts[:PARTS]), np.array(parts[PARTS:])
    whole = pairs.sum(axis=0)
    count = int(np.argmax(whole < PAIRS * whole[0])) or nt
    taper = np.cos(np.pi / 2 * np.clip(2 * np.arange(count) / count - 1, 0, 1)) ** 2
    left = whole - pairs
    known = (left > 0).all(axis=1, where=np.arange(nt) < count)
    without = (sums.sum(axis=0) - sums)[known, :count] / left[known, :count]
    return Noise(sums.sum(axis=0)[:count] / whole[:count] * taper, without * taper)


def _products(traces: Float[np.ndarray, "n_traces nt"]) -> Float[np.ndarray, " nt"]:
    """Sum the products of all pairs of samples of each lag, in all traces."""
    length = padded_length(traces.shape[1])
    power = np.sum(np.abs(np.fft.rfft(traces, length, axis=1)) ** 2, axis=0)
    return np.fft.irfft(power, length)[: traces.shape[1]]


def filtered_power(covariance: Covariance, response: Float[np.ndarray, " nt"]) -> Float[np.ndarray, " nt"]:
    """Compute the mean square of filtered noise that begins with the record.

    Args:
        covariance: Autocovariance of the noise by lag `(n_lags,)`.
        response: Response of the filter `(nt,)`.

    Returns:
        The mean square of each sample `(nt,)`.
    """
    before = np.concatenate([[0.0], covariance[1:]])
    return np.cumsum(response * (response * covariance[0] + 2 * fftconvolve(response, before)[: len(response)]))


def noise_misfit(noise: Noise, narrowing: Narrowing, nt: int, stage: StageData, deviations: float = 0.0) -> float:
    """Compute the misfit that noise alone leaves in a stage, or the end of its confidence interval.

    Args:
        noise: Knowledge of the noise.
        narrowing: How the stage narrows the data.
        nt: Number of samples of the data of the inversion.
        stage: Data of the stage, with its mutes.
        deviations: Standard deviations of what is measured that are added.

    Returns:
        The misfit of least squares.
    """
    data, factors = _weighed(stage)
    counts = np.broadcast_to(factors**2, data.shape).sum(axis=(0, *range(2, data.ndim)))  # of each sample
    response = narrowing.response(nt)

    def left(covariance: Covariance) -> float:
        power = filtered_power(covariance, response)
        return float(np.sum(counts * (power if narrowing.samples is None else power[narrowing.samples])))

    parts = np.array([left(covariance) for covariance in noise.without])
    deviation = np.sqrt((len(parts) - 1) * np.var(parts)) if len(parts) else 0.0
    return max(0.0, float(left(noise.covariance) + deviations * deviation)) / float(np.sum(data**2))


def _weighed(data: StageData) -> tuple[np.ndarray, Any]:
    """Multiply data by their weights, in float64; where a weight is zero, they may be anything."""
    observed = np.asarray(data.observed, np.float64)
    if data.weights is None:
        return observed, np.ones(1)
    factors = np.asarray(data.weights, np.float64)
    return factors * np.where(factors > 0, observed, 0), factors
