"""Sum time-harmonic fields: a running Fourier transform in the time loop.

    P(f) = int p(t) exp(-2 pi i f t) dt  ~  sum_j T p(j T) exp(-2 pi i f j T),    T = k dt

A source w(t) then gives, in a homogeneous medium, P = W(f) G with G = -(i / 4) H_0^(2)(2 pi f r / v), the outgoing
solution of lap P + (2 pi f / v)^2 P = -W delta.

Only every k-th internal step is summed. By Poisson's formula the sum is P(f) + P(f - 1/T) + P(f + 1/T) + ..., and the
nearest of these aliases lies 1/T - f from zero. k is the largest with 1/T - f >= 4 peak frequencies, where a Ricker's
spectrum, x^2 exp(1 - x^2) of its peak at x peak frequencies, is 16 exp(-15) = 5e-6. The medium is linear and adds no
frequencies, so this bounds the field: the error is FOLDED_PART of the field at the peak frequency, the wavelet's onset
included. A record that ends while the field moves leaves out |p(end)| / (2 pi f) of the integral, and adds an error of
at most T |p(end)|. k also divides the snapshots' steps, so that a segment between two snapshots is whole groups of k
steps; the loops in JAX fill up the last group by steps that are not recorded.

The engines carry the sums as 2 F real fields, behind the snapshots: real parts, then imaginary parts.
"""

from math import gcd

import jax
import numpy as np
from jaxtyping import Array, Complex, Float

from data_gen.solver.problem.simulation import Simulation

FOLDED_FROM = 4.0  # peak frequencies
FOLDED_PART = 1e-5


def stride(simulation: Simulation) -> int:
    """Compute k, the internal steps from one sample of the Fourier sums to the next.

    Args:
        simulation: The simulation.

    Returns:
        The number of steps; 1 if there are no frequencies.
    """
    if not simulation.frequencies:
        return 1
    wanted = max(simulation.frequencies) + FOLDED_FROM * simulation.peak_frequency
    most = max(1, min(simulation.steps, int(1 / (wanted * simulation.step_length))))
    common = gcd(*simulation.snapshot_steps) * simulation.substeps  # 0, which all numbers divide, where there are none
    return next(k for k in range(most, 0, -1) if common % k == 0)


def sample_count(simulation: Simulation) -> int:
    """Count the samples of the Fourier sums: the first steps of groups of `stride` steps, the last of which may be cut.

    Args:
        simulation: The simulation.

    Returns:
        The number of samples.
    """
    return -(-simulation.steps // stride(simulation))


def weights(simulation: Simulation) -> Float[np.ndarray, "samples n_sums"]:
    """Compute the weight of the field at steps 0, k, 2 k, ... in each sum: T cos(2 pi f t), then -T sin(2 pi f t).

    Args:
        simulation: The simulation.

    Returns:
        Weights `(samples, 2 n_frequencies)` [s].
    """
    sampling = stride(simulation) * simulation.step_length
    times = np.arange(sample_count(simulation)) * sampling
    phases = 2 * np.pi * (times[:, None] * np.array(simulation.frequencies) % 1)
    return sampling * np.concatenate([np.cos(phases), -np.sin(phases)], axis=1)


def field_count(simulation: Simulation) -> int:
    """Count the fields of one shot that an engine returns: the snapshots and the sums.

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
