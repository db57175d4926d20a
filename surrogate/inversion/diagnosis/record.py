"""Collect what the diagnosis of gathers needs of an inversion."""

import numpy as np

from data_gen.dataset.imported_survey import peak_of_gathers
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.diagnosis.gathers import Record
from surrogate.inversion.first_breaks import pick_first_breaks
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.processing.mutes import offsets


def make_record(
    weights: np.ndarray | None,
    forward: PhysicsForward,
    observed: np.ndarray,
    predicted: np.ndarray,
    config: InversionConfig,
) -> Record:
    """Collect what the diagnosis of gathers needs.

    Args:
        weights: Weights of the data, or None.
        forward: The solver, with its wavelets.
        observed: Observed gathers `(n_shots, nt, n_receivers)`.
        predicted: Gathers that are predicted in the start, likewise.
        config: Settings of the inversion.

    Returns:
        Both sides of the data. The frequency that is fitted first is the highest one of the first stage, or the peak
        frequency of the predicted gathers.
    """
    used = np.ones(observed.shape[::2], bool)
    if weights is not None:
        used = np.logical_or.reduce(np.broadcast_to(weights > 0, observed.shape), axis=1)
    simulation, steps = forward.simulation, forward.steps
    dt = simulation.time.dt * (steps[1] - steps[0])
    peak = peak_of_gathers(predicted) / dt
    wavelets = np.asarray(forward.survey.wavelets, float).reshape(-1, simulation.time.nt)
    loudest = wavelets[np.argmax(np.abs(wavelets).max(axis=1))]
    fired = float(pick_first_breaks(loudest[None, :, None], simulation.time.dt, 1 / peak).times[0, 0])
    return Record(
        np.where(used[:, None], observed, 0),
        predicted,
        used,
        np.asarray(offsets(forward.survey), float),
        dt,
        fired - steps[0] * simulation.time.dt,
        peak,
        simulation.highest_frequency,
        config.stage(0).highest_frequency or peak,
        (config.bounds[0], config.bounds[1]),
    )
