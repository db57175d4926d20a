"""Sum fields over the steps of the time loop: snapshots free of temporal dispersion, and time-harmonic fields.

    S_i = sum_j W_ij p(j T),    T = k dt

*Snapshots.* W has the few weights that read the field at a time from every k-th step (temporal_dispersion.py). Without
the correction a snapshot is the field of one step, which the loop keeps as it is.

*Time-harmonic fields*, a running Fourier transform:

    P(f) = int p(t) exp(-2 pi i f t) dt  ~  sum_j T p(j T) exp(-2 pi i f j T)

A source w(t) then gives, in a homogeneous medium, P = W(f) G with G = -(i / 4) H_0^(2)(2 pi f r / v), the outgoing
solution of lap P + (2 pi f / v)^2 P = -W delta. With the correction f is the leap-frog's own frequency.

By Poisson's formula the sum is P(f) + P(f - 1/T) + P(f + 1/T) + ..., and the nearest of these aliases lies 1/T - f from
zero. k is the largest with 1/T - f >= 4 peak frequencies, where a Ricker's spectrum, x^2 exp(1 - x^2) of its peak at x
peak frequencies, is 16 exp(-15) = 5e-6. The medium is linear and adds no frequencies, so this bounds the field: the
error is FOLDED_PART of the field at the peak frequency, the wavelet's onset included. A record that ends while the
field moves leaves out |p(end)| / (2 pi f) of the integral, and adds an error of at most T |p(end)|.

k also divides the steps of snapshots that are kept as they are, so that a segment between two of them is whole groups
of k steps; the loops in JAX fill up the last group by steps that are not recorded. The engines carry the sums behind
such snapshots: snapshots that are read, then real parts, then imaginary parts.
"""

from functools import cache
from math import gcd
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from data_gen.solver.numerics import temporal_dispersion
from data_gen.solver.problem.simulation import Simulation

FOLDED_FROM = 4.0  # peak frequencies
FOLDED_PART = 1e-5


def kept_snapshots(simulation: Simulation) -> tuple[int, ...]:
    """List the internal steps at which the field is kept as it is.

    Args:
        simulation: The simulation.

    Returns:
        The steps; none with the correction of temporal dispersion, where snapshots are sums.
    """
    if simulation.time_correction:
        return ()
    return tuple(step * simulation.substeps for step in simulation.snapshot_steps)


def sum_count(simulation: Simulation) -> int:
    """Count the sums.

    Args:
        simulation: The simulation.

    Returns:
        The number of sums.
    """
    return field_count(simulation) - len(kept_snapshots(simulation))


@cache
def stride(simulation: Simulation) -> int:
    """Compute k, the internal steps from one sample of the sums to the next.

    Args:
        simulation: The simulation.

    Returns:
        The number of steps; 1 if there are no sums.
    """
    if not sum_count(simulation):
        return 1
    dt, peak = simulation.step_length, simulation.peak_frequency
    most = simulation.steps
    if simulation.frequencies:
        most = min(most, int(1 / ((max(simulation.frequencies) + FOLDED_FROM * peak) * dt)))
    if simulation.time_correction and simulation.snapshot_steps:
        most = min(most, temporal_dispersion.read_stride(dt, peak))
    common = gcd(*kept_snapshots(simulation))  # 0, which all numbers divide, where there are none
    return next(k for k in range(max(1, most), 0, -1) if common % k == 0)


def sample_count(simulation: Simulation) -> int:
    """Count the samples of the sums: the first steps of groups of `stride` steps, the last of which may be cut.

    Args:
        simulation: The simulation.

    Returns:
        The number of samples.
    """
    return -(-simulation.steps // stride(simulation))


@cache
def weights(simulation: Simulation) -> Float[np.ndarray, "samples n_sums"]:
    """Compute the weight of the field at steps 0, k, 2 k, ... in each sum.

    Args:
        simulation: The simulation.

    Returns:
        Weights `(samples, n_sums)`; those of time-harmonic fields are T cos(2 pi f t), then -T sin(2 pi f t) [s].
    """
    dt, samples = simulation.step_length, sample_count(simulation)
    frequencies, parts = np.array(simulation.frequencies), []
    if simulation.time_correction:
        frequencies = temporal_dispersion.numerical_frequency(frequencies, dt)
        times = tuple(simulation.snapshot_times)
        read = temporal_dispersion.reading(times, dt, stride(simulation), samples, simulation.peak_frequency)
        parts.append(read.dense().T)
    sampling = stride(simulation) * dt
    moments = np.arange(samples)[:, None] * sampling
    phases = 2 * np.pi * (moments * frequencies % 1)
    # The integral ends with the record, after which the loop runs on for what is read at its last samples.
    sampling = np.where(moments <= simulation.time.times[-1] * (1 + 1e-9), sampling, 0)
    return np.concatenate([*parts, sampling * np.cos(phases), -sampling * np.sin(phases)], axis=1)


@cache
def of_wavelets(simulation: Simulation) -> Float[np.ndarray, "nt n_fields"]:
    """Compute the weights of a wavelet's samples in its own values at snapshots and its Fourier integrals.

    Args:
        simulation: The simulation.

    Returns:
        Weights `(nt, n_fields)`, in the order of the fields that an engine returns.
    """
    time = simulation.time
    values = np.zeros((time.nt, len(simulation.snapshot_steps)))
    values[simulation.snapshot_steps, np.arange(values.shape[1])] = 1
    phases = 2 * np.pi * np.outer(time.times, simulation.frequencies)
    return np.concatenate([values, time.dt * np.cos(phases), -time.dt * np.sin(phases)], axis=1)


class Shares(NamedTuple):
    """Hold the weights of the sums sample by sample, without zeros.

    Attributes:
        sums: Numbers of the sums that each sample is a part of `(samples, m)`.
        weights: Its weights in them `(samples, m)`; 0 fills up rows with fewer.
    """

    sums: Int[Array, "samples m"]
    weights: Float[Array, "samples m"]


def shares(simulation: Simulation, dtype) -> Shares:
    """Compute the weights of the sums, sample by sample.

    Args:
        simulation: The simulation.
        dtype: Floating-point type of the fields.

    Returns:
        The weights.
    """
    dense = weights(simulation)
    most = int(np.max(np.count_nonzero(dense, axis=1), initial=0))
    if most == dense.shape[1]:
        order = np.broadcast_to(np.arange(most), dense.shape)
    else:
        order = np.argsort(dense == 0, axis=1, kind="stable")[:, :most]
    return Shares(jnp.asarray(order, jnp.int32), jnp.asarray(np.take_along_axis(dense, order, axis=1), dtype))


def add_to_sums(sums: Float[Array, "n_sums nz nx"], share: Shares, field: Float[Array, "nz nx"]) -> jax.Array:
    """Add a sample's parts to the sums.

    Args:
        sums: The sums `(n_sums, nz, nx)`.
        share: The row of `shares` of this sample.
        field: The field `(nz, nx)` at this sample.

    Returns:
        The new sums.
    """
    if share.sums.shape[0] == len(sums):
        return sums + share.weights[:, None, None] * field
    for i, weight in zip(share.sums, share.weights, strict=True):
        sums = sums.at[i].add(weight * field)
    return sums


def weigh_sums(sums: Float[Array, "n_sums nz nx"], share: Shares) -> Float[Array, "nz nx"]:
    """Add up the sums by a sample's weights: the transpose of `add_to_sums`.

    Args:
        sums: The sums `(n_sums, nz, nx)`.
        share: The row of `shares` of this sample.

    Returns:
        A field `(nz, nx)`.
    """
    return jnp.sum(share.weights[:, None, None] * sums[share.sums], axis=0)


def field_count(simulation: Simulation) -> int:
    """Count the fields of one shot that an engine returns.

    Args:
        simulation: The simulation.

    Returns:
        The number of fields.
    """
    return len(simulation.snapshot_steps) + 2 * len(simulation.frequencies)


def split(
    fields: Float[Array, "n_sources n_fields nz nx"], simulation: Simulation
) -> tuple[Float[Array, "n_sources n_snapshots nz nx"], Complex[Array, "n_sources n_frequencies nz nx"]]:
    """Split the fields that an engine returns.

    Args:
        fields: Fields `(n_sources, n_fields, nz, nx)`.
        simulation: The simulation.

    Returns:
        Snapshots `(n_sources, n_snapshots, nz, nx)` and time-harmonic fields `(n_sources, n_frequencies, nz, nx)`.
    """
    first, count = len(simulation.snapshot_steps), len(simulation.frequencies)
    real, imaginary = fields[:, first : first + count], fields[:, first + count :]
    return fields[:, :first], jax.lax.complex(real, imaginary)
