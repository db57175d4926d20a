"""Start an inversion from the answer of an operator that has learned to invert: a run of `task=inverse`.

    v_0 = operator(a d), within the bounds,    a = <w_r, w> / <w, w>

d are the observed gathers at the times that the operator reads, w is their wavelet, and w_r that of the run, whose
amplitude has been learned, too. An operator knows one survey, which may lie anywhere along the line.
"""

import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.velocity.base.model_files import VelocityFile
from surrogate.config import InvertConfig
from surrogate.encodings.gather import stored_times
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.wavelet import SourceWavelet
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.predict import predict
from surrogate.tasks.inverse import Inverse

NEAR = 0.01  # [cells] between positions that are the same
ON_TIME = 1e-3  # [samples] between times that are the same
ALIKE = 0.05  # relative L2 distance of wavelets that are the same


def operator_start(config: InvertConfig, observed: Observed, wavelet: SourceWavelet) -> VelocityFile:
    """Ask the operator of a run for the velocity model of observed gathers.

    Args:
        config: Config of the inversion, with the `run` and the bounds.
        observed: Observed data.
        wavelet: Their wavelet.

    Returns:
        The answer within the bounds, with its place on the line of the data.

    Raises:
        InputError: If the run is not one of `task=inverse`, or knows another survey, other times or another wavelet.
    """
    if (task := read_run(config.run).task.name) != Inverse.name:
        raise InputError(
            f"inversion.start=operator asks an operator that maps gathers to a velocity model, but {config.run} was "
            f"trained for task={task}. Give the run of a task=inverse."
        )
    model = load_surrogate(config.run)
    spec = model.task.spec
    shift = _shift(config.run, observed, spec)
    gathers = _at_times(config.run, observed, stored_times(spec))
    amplitude = _amplitude(config, wavelet, spec)
    answer = np.asarray(predict(model, (amplitude * gathers[None]).astype(np.float32)))[0, 0]
    low, high = config.inversion.bounds
    return VelocityFile(np.clip(answer, low, high), spec.simulation.grid.spacing, origin=(0.0, shift))


def _shift(run: str, observed: Observed, spec: DataSpec) -> float:
    """Return how far along the line the survey lies from that of the run [m]."""
    if not spec.knows_positions or spec.sources is None:
        raise InputError(
            f"The data of {run} were imported without the positions of sources and receivers, so nothing tells whether "
            "the observed data are of the same survey. Import them with --sources and --receivers, and train again."
        )
    shape, learned = observed.gathers.shape[::2], (len(spec.sources), len(spec.receivers))
    given = f"{shape[0]} shots of {observed.sources.shape[1]} source(s) and {shape[1]} receivers"
    shift = float(observed.sources[0, 0, 1] - spec.sources[0, 1])
    alike = shape == learned and observed.sources.shape[1] == 1 and bool((observed.weights > 0).all())
    if alike:
        pairs = (observed.sources[:, 0], spec.sources), (observed.receivers, spec.receivers)
        apart = np.max([np.abs(ours - theirs - (0.0, shift)).max() for ours, theirs in pairs])
        alike, given = apart < NEAR * spec.simulation.grid.spacing, f"{given}, up to {apart:.3g} m from these"
    if not alike:
        raise InputError(
            f"The operator of {run} knows one survey, of {learned[0]} shots at {_span(spec.sources)} and {learned[1]} "
            f"receivers at {_span(spec.receivers)}, all of whose traces are live. The observed data have {given}; "
            f"{int((observed.weights <= 0).sum())} traces are dead. Give data of that survey, or another "
            "inversion.start."
        )
    return shift


def _span(points: np.ndarray) -> str:
    (z_min, x_min), (z_max, x_max) = points.min(axis=0), points.max(axis=0)
    return f"z = {z_min:g} to {z_max:g} m, x = {x_min:g} to {x_max:g} m"


def _at_times(run: str, observed: Observed, times: Float[np.ndarray, " nt_stored"]) -> np.ndarray:
    """Take the samples that the operator reads `(n_shots, nt_stored, n_receivers)`."""
    steps = (times - observed.delay) / observed.dt
    nearest = np.rint(steps).astype(int)
    if np.abs(steps - nearest).max() > ON_TIME or nearest[0] < 0 or nearest[-1] >= observed.gathers.shape[1]:
        raise InputError(
            f"The operator of {run} reads samples each {times[1] - times[0]:g} s from {times[0]:g} to {times[-1]:g} s, "
            f"but the observed data have them each {observed.dt:g} s from {observed.delay:g} to "
            f"{observed.duration:g} s. Give records with samples at these times (setup.dt resamples), or another "
            "inversion.start."
        )
    return observed.gathers[:, nearest]


def _amplitude(config: InvertConfig, wavelet: SourceWavelet, spec: DataSpec) -> float:
    """Return the factor that brings the data to the wavelet of the run; 1 where that is unknown."""
    if not spec.knows_wavelet:
        return 1.0
    if wavelet.estimated or not (wavelet.calibrated or config.setup.amplitude):
        raise InputError(
            f"The operator of {config.run} has learned the amplitudes of one wavelet, but that of the observed data is "
            f"not known ({wavelet.described}, of any amplitude). Give it (wavelet=FILE, or wavelet=ricker and "
            "setup.peak_frequency) and its factor, setup.amplitude=1 where both have one unit; or another "
            "inversion.start."
        )
    fired = (config.setup.amplitude or 1.0) * wavelet.sample(spec.simulation.time, 0.0)
    factor = float(fired @ spec.wavelet / (fired @ fired)) if fired.any() else 0.0
    distance = np.linalg.norm(factor * fired - spec.wavelet) / np.linalg.norm(spec.wavelet)
    if distance > ALIKE:
        raise InputError(
            f"The operator of {config.run} has learned another wavelet than that of the observed data "
            f"({wavelet.described}): in shape, they differ by {distance:.0%}. Filter the data to that wavelet, train a "
            "run with this one, or give another inversion.start."
        )
    return factor
