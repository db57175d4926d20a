"""Undo the temporal dispersion of the leap-frog exactly: fire a warped wavelet, and undo the warp in what is recorded.

    (p_{n+1} - 2 p_n + p_{n-1}) / dt^2 = A p_n + s_n      for any linear A

has the solution of `p_tt = A p + s` at another frequency: w^2 becomes (2 / dt)^2 sin^2(w_n dt / 2), so that what the
equation does at w, the leap-frog does at

    w_n = (2 / dt) asin(w dt / 2)

in every medium. Both have the same spectra there, P_n(w_n) = P(w), if the sources have, W_n(w_n) = W(w). With
dw = cos(w_n dt / 2) dw_n:

    fire     q_n = sum_j k_j(n) s(t_j),    k_j(n) = D / (2 pi) int exp(i (w_n n dt - w t_j)) dw_n    (samples D apart)
    read     p(t) = sum_n k_t(n) p_n,      sum_n k_t(n) exp(i w_n n dt) = cos(w_n dt / 2) exp(i w t)

Source of the idea: E. F. M. Koene, J. O. A. Robertsson, F. Broggini, F. Andersson, "Eliminating time dispersion from
seismic wave modeling", Geophysical Journal International 213 (2018), 169-180, who filter whole traces.

*Fire.* The integral is cut off above the band by a smooth taper, so that nothing fires beyond it: that would stay on
the grid as noise.

*Read.* Each k has few weights, of steps around `t` less the delay (w_n - w) t / w = w^2 dt^2 t / 24 and more, which is
a few milliseconds: so whole fields can be read as well, from every few steps. The weights are the least-squares
solution over the band of a wavelet of a given peak frequency, with a penalty on their size. All windows of equally
many steps have the same normal matrix, of Toeplitz form: one factorization gives all weights.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, floor

import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from scipy.linalg import cho_factor, cho_solve, toeplitz
from scipy.special import erfc

from data_gen.common.contraction import contract
from data_gen.common.one_thread import on_one_thread

# The band, in peak frequencies: full weight up to the highest frequency of a Ricker wavelet (5 % of its peak), then a
# Gaussian fall; nothing has to be right above BAND, where a Ricker wavelet has 1e-5 of its peak.
FULL_WEIGHT, FALL, BAND = 2.5, 0.7, 4.0
PENALTY = 3e-4  # of the weights' size, relative to the fit: they add up to some 3 at most (absolute values)
STRIDE = 0.085  # longest time from one step that is read to the next, in periods of the peak frequency
WINDOW = 0.75  # length of the window of steps, in the same periods, in addition to the delays that it must hold
TAIL = 0.3  # how long the loop runs on after the last sample, in the same periods
LONGEST_STEP = 0.053  # in the same periods: the taper ends below the highest frequency that is stepped, 1 / (pi dt)
# The taper of what fires, 1 / 2 erfc((f / peak - TAPER) / TAPER_WIDTH): within 4e-4 of one up to 3.5 peak frequencies,
# and the time after which its response is below 1e-6, in periods of the peak frequency.
TAPER, TAPER_WIDTH, RESPONSE = 4.6, 0.45, 2.2


def numerical_frequency(frequency, dt: float):
    """Compute the frequency at which the leap-frog does what the wave equation does at a given one.

    Args:
        frequency: Frequencies f [Hz], below 1 / (pi dt).
        dt: Time step [s].

    Returns:
        Frequencies asin(pi f dt) / (pi dt) [Hz].
    """
    return np.arcsin(np.pi * frequency * dt) / (np.pi * dt)


def steps_needed(duration: float, dt: float, peak_frequency: float) -> int:
    """Count the steps after which every sample of a record can be read.

    Args:
        duration: Time of the last sample [s].
        dt: Time step [s].
        peak_frequency: Peak frequency of the wavelets [Hz].

    Returns:
        The number of steps.
    """
    return ceil(duration / dt + TAIL / (peak_frequency * dt)) + 1


def read_stride(dt: float, peak_frequency: float) -> int:
    """Count the steps from one that is read to the next.

    Args:
        dt: Time step [s].
        peak_frequency: Peak frequency of the wavelets [Hz].

    Returns:
        The number of steps, at least 1.
    """
    return max(1, floor(STRIDE / (peak_frequency * dt)))


@dataclass(frozen=True, eq=False)
class Windows:
    """Hold weights of consecutive samples: row i weighs the samples `first[i], first[i] + 1, ...`.

    Attributes:
        first: First sample of each row `(n,)`.
        weights: Weights `(n, n_weights)`.
        samples: Number of samples that there are.
    """

    first: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, "n n_weights"]
    samples: int

    def dense(self) -> Float[np.ndarray, "n samples"]:
        """Write the weights as a matrix."""
        matrix = np.zeros((len(self.first), self.samples))
        columns = self.first[:, None] + np.arange(self.weights.shape[1])
        np.put_along_axis(matrix, columns, self.weights, axis=1)
        return matrix


def _band(times: Float[np.ndarray, " n"], dt: float, peak_frequency: float, upto: float):
    """Sample the angular frequencies up to so many peak frequencies: w, w_n, and w over the peak [rad/s]."""
    # Enough that the phase turns by less than one from point to point within the longest window.
    points = 512 + ceil(2 * np.pi * upto * peak_frequency * float(np.max(times, initial=0)))
    w = 2 * np.pi * peak_frequency * upto * (np.arange(points) + 0.5) / points
    w = w[w * dt < 2]
    return w, 2 * np.pi * numerical_frequency(w / (2 * np.pi), dt), w / (2 * np.pi * peak_frequency)


def _correlate(times, w, numerical, first, offsets, importance) -> Float[np.ndarray, "n n_offsets"]:
    """Compute sum_w importance cos(w t - w_n (first + offset)) for each time and its window of steps [s]."""
    wanted = np.exp(1j * (np.outer(times, w) - np.outer(first, numerical))) * importance
    return (wanted @ np.exp(-1j * np.outer(numerical, offsets))).real


@cache
@on_one_thread
def reading(times: tuple[float, ...], dt: float, stride: int, samples: int, peak_frequency: float) -> Windows:
    """Compute the weights that read the field at given times from every few steps of the leap-frog.

    Args:
        times: Times [s].
        dt: Time step [s].
        stride: Steps from one that is read to the next; the first is step 0.
        samples: Number of steps that are read.
        peak_frequency: Peak frequency of the wavelets [Hz].

    Returns:
        Weights `(n_times, n_weights)` of consecutive ones of these steps.
    """
    moments, step = np.array(times), stride * dt
    w, numerical, relative = _band(moments, dt, peak_frequency, BAND)
    beyond = np.maximum(relative - FULL_WEIGHT, 0) / FALL
    importance = np.exp(-2 * beyond**2)
    importance /= importance.sum()
    # At time t the steps needed lie between t, the lowest frequencies', and t dw / dw_n, the group's at the highest.
    latest, earliest = moments, moments * np.cos(numerical[beyond <= 2][-1] * dt / 2)
    longest = float(np.max(latest - earliest, initial=0))
    count = min(samples, ceil((longest + WINDOW / peak_frequency) / step) + 1)
    first = np.round((latest + earliest) / (2 * step) - (count - 1) / 2)
    first = np.clip(first, 0, samples - count).astype(int)
    offsets = np.arange(count) * step
    normal = np.cos(np.outer(offsets, numerical)) @ importance
    normal[0] += PENALTY**2
    right = _correlate(moments, w, numerical, first * step, offsets, importance * np.cos(numerical * dt / 2))
    return Windows(first, cho_solve(cho_factor(toeplitz(normal)), right.T).T, samples)


@cache
@on_one_thread
def firing(interval: float, count: int, dt: float, steps: int, peak_frequency: float) -> Windows:
    """Compute the weights with which each sample of a wavelet fires in the steps of the leap-frog.

    Args:
        interval: Time from one sample of the wavelet to the next [s].
        count: Number of samples of the wavelet.
        dt: Time step [s].
        steps: Number of steps.
        peak_frequency: Peak frequency of the wavelets [Hz].

    Returns:
        Weights `(count, n_weights)` of consecutive steps.
    """
    moments = np.arange(count) * interval
    w, numerical, relative = _band(moments, dt, peak_frequency, TAPER + 4 * TAPER_WIDTH)
    spacing = (w[1] - w[0]) / np.cos(numerical * dt / 2)  # of w_n
    taper = erfc((relative - TAPER) / TAPER_WIDTH) / 2 * spacing * interval / np.pi
    earliest = moments * np.cos(numerical[relative <= TAPER][-1] * dt / 2) - RESPONSE / peak_frequency
    longest = float(np.max(moments - earliest)) + RESPONSE / peak_frequency
    window = min(steps, ceil(longest / dt) + 1)
    first = np.clip(np.floor(earliest / dt), 0, steps - window).astype(int)
    return Windows(first, _correlate(moments, w, numerical, first * dt, np.arange(window) * dt, taper), steps)


ROWS = 64  # of a block


@dataclass(frozen=True, eq=False)
class BandMatrix:
    """Hold a matrix with few entries near its diagonal, as blocks of rows.

    Attributes:
        rows: Number of rows.
        first: First column of each block `(n_blocks,)`.
        blocks: Entries `(n_blocks, ROWS, n_columns)`; rows beyond the last are zero.
    """

    rows: int
    first: Int[np.ndarray, " n_blocks"]
    blocks: Float[np.ndarray, "n_blocks rows n_columns"]

    def apply(self, traces: Float[Array, "... samples n"]) -> Float[Array, "... rows n"]:
        """Multiply traces, whose samples lie on the last axis but one, from the left.

        Args:
            traces: Traces `(..., samples, n)`.

        Returns:
            Traces `(..., rows, n)`, in the same floating-point type.
        """
        out = contract(self.blocks, traces[..., self._columns, :], "brc,bcn->brn")
        return lax.collapse(out, out.ndim - 3, out.ndim - 1)[..., : self.rows, :]

    def apply_to_last(self, traces: Float[Array, "... samples"]) -> Float[Array, "... rows"]:
        """Multiply traces, whose samples lie on the last axis, from the left.

        Args:
            traces: Traces `(..., samples)`.

        Returns:
            Traces `(..., rows)`, in the same floating-point type.
        """
        out = contract(self.blocks.swapaxes(1, 2), traces[..., self._columns], "bcr,bc->br")
        return lax.collapse(out, out.ndim - 2, out.ndim)[..., : self.rows]

    @property
    def _columns(self) -> Int[np.ndarray, "n_blocks n_columns"]:
        return self.first[:, None] + np.arange(self.blocks.shape[2])


def band_matrix(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> BandMatrix:
    """Make a `BandMatrix` of entries.

    Args:
        row: Rows of the entries `(n,)`.
        column: Their columns `(n,)`.
        value: Their values `(n,)`.
        shape: Number of rows and of columns.

    Returns:
        The matrix.
    """
    count, block = -(-shape[0] // ROWS), row // ROWS
    low, high = np.full(count, shape[1]), np.zeros(count, int)
    np.minimum.at(low, block, column)
    np.maximum.at(high, block, column + 1)
    width = max(1, int(np.max(high - low)))
    first = np.clip(low, 0, shape[1] - width)
    blocks = np.zeros((count, ROWS, width))
    blocks[block, row % ROWS, column - first[block]] = value
    return BandMatrix(shape[0], first, blocks)


def reader(windows: Windows) -> BandMatrix:
    """Make the matrix that reads traces at the times of windows.

    Args:
        windows: Weights of `reading`.

    Returns:
        Matrix of one row for each time and one column for each sample.
    """
    count = windows.weights.shape[1]
    columns = windows.first[:, None] + np.arange(count)
    rows = np.repeat(np.arange(len(columns)), count)
    return band_matrix(rows, columns.ravel(), windows.weights.ravel(), (len(columns), windows.samples))


def trigger(windows: Windows) -> BandMatrix:
    """Make the matrix that fires wavelets.

    Args:
        windows: Weights of `firing`.

    Returns:
        Matrix of one row for each step and one column for each sample of a wavelet.
    """
    count = windows.weights.shape[1]
    steps = windows.first[:, None] + np.arange(count)
    columns = np.repeat(np.arange(len(steps)), count)
    return band_matrix(steps.ravel(), columns, windows.weights.ravel(), (windows.samples, len(steps)))
