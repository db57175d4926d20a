"""Make the problem of observed data: read them, set up their simulation, and make the start."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.console import print_table
from data_gen.common.digest import digest_of
from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.model_files import VelocityFile, resample
from data_gen.velocity.density import gardner
from surrogate.config import InvertConfig
from surrogate.devices import fetch, is_main_process
from surrogate.inversion.checks import check_fastest, check_observed, check_start, check_truth, check_weights
from surrogate.inversion.config import OPERATOR
from surrogate.inversion.descent import fixed_cells
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.observed.preparation import check_resampled, make_line_sources, resample_observed
from surrogate.inversion.observed.reading import read_observed
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.setup import Setup, setup_inversion, table_of
from surrogate.inversion.observed.start import make_start, make_start_density, read_start
from surrogate.inversion.observed.wavelet import SourceWavelet, choose_wavelet
from surrogate.inversion.source_estimation import estimate_source, fit_amplitude, taper_end
from surrogate.runs.operator_start import operator_start
from surrogate.runs.problem import Problem, over_devices, uses_surrogate, with_density

ESTIMATED_PERIODS = 6.0  # length of an estimated wavelet, in periods of the peak frequency


def observed_problem(config: InvertConfig) -> Problem:
    """Read observed data and set up their inversion; the set-up is printed.

    Args:
        config: Config of the inversion, with `observed`.

    Returns:
        The problem.

    Raises:
        InputError: If settings do not go together, or the data, the geometry, the wavelet or the start cannot be used.
    """
    assert config.observed is not None
    _check_combination(config)
    settings, choices = config.inversion, config.setup
    choices.check()
    observed = read_observed(
        config.observed,
        geometry=config.geometry,
        datum=choices.datum,
        shot_word=choices.shot_word,
        split=choices.split,
        index=settings.index,
    )
    observed = resample_observed(observed, choices.dt)
    wavelet = choose_wavelet(observed, config.wavelet, choices.peak_frequency, choices.peak_time)
    check_resampled(wavelet, choices.dt)
    observed = make_line_sources(observed, wavelet, choices.line_source, choices.line_source_velocity)
    asked = settings.start == OPERATOR
    file = operator_start(config, observed, wavelet) if asked else read_start(settings)
    setup = setup_inversion(observed, wavelet, _velocities(config, observed, file), choices)
    every = _every(settings.record_every, observed, wavelet)
    grid, data = setup.simulation.grid, setup.observed.gathers[:, ::every]
    truth = _truth(observed, grid, setup.origin)
    held = fixed_cells(settings, grid.shape)
    start, start_described = make_start(
        settings, grid, file=file, origin=setup.origin, frame=observed.frame, truth=truth
    )
    check_start(start, settings.bounds, held)
    if truth is not None:
        check_truth(truth, settings.bounds, held)
    density = gardner if setup.gardner else None
    forward = PhysicsForward(setup.simulation, setup.survey, "gather", setup.steps[::every], density)
    check_fastest(forward, start, settings.bounds, held)
    predicted = jax.eval_shape(forward, jnp.asarray(start))
    weights = check_weights(observed.weights, predicted)
    check_observed(data, predicted, weights)
    forward = over_devices(forward, config)
    if is_main_process():
        print_table(table_of(setup, (("start", start_described, "inversion.start"),)))
    assert weights is not None
    start_density = make_start_density(settings, grid, origin=setup.origin, frame=observed.frame)
    known = settings.density == "free" and truth is not None and observed.known is not None and observed.known.gardner
    files = [] if start_density is None else [start_density]
    return Problem(
        forward,
        partial(
            _completed, forward, setup, wavelet, choices.amplitude, (start, start_density), data, np.asarray(weights)
        ),
        start,
        grid.spacing,
        f"observed data of {Path(config.observed).name} ({start_described})",
        len(data),
        truth=truth,
        weights=np.asarray(weights),
        origin=setup.origin,
        frame=observed.frame,
        contents=digest_of(observed.digest(), np.asarray(setup.survey.wavelets), start, *files),
        clock=setup.first,
        start_density=start_density,
        true_density=np.asarray(gardner(jnp.asarray(truth))) if known else None,
    ).check_density(settings)


def _check_combination(config: InvertConfig) -> None:
    for what, wrong, remedy in (
        (
            f"forward={config.forward}",
            config.forward == "surrogate" or uses_surrogate(config),
            "Only the solver knows any survey: take forward=physics, or corrected with inversion.corrected.low=coarse",
        ),
        (
            f"run={config.run}",
            bool(config.run) and config.inversion.start != OPERATOR,
            "A run is asked for a start only (inversion.start=operator)",
        ),
        ("real_density", config.real_density is not None, "That is the density of a true model to simulate data in"),
        ("real.path", config.real.path is not None, "That is a true model to simulate data in"),
        (
            f"inversion.kind={config.inversion.kind}",
            config.inversion.kind != "gather",
            "Observed data are gathers at receivers",
        ),
    ):
        if wrong:
            raise InputError(f"observed={config.observed} cannot be inverted with {what}. {remedy}: leave it out.")


def _every(record_every: int | None, observed: Observed, wavelet: SourceWavelet) -> int:
    """Check that no data are aliased, and return how many samples lie from one that is fitted to the next."""
    every = record_every or 1
    if every > 1 and wavelet.estimated:
        raise InputError("wavelet=estimated needs every sample: leave inversion.record_every out.")
    if every > 1 and not 0.5 / (every * observed.dt) > wavelet.highest:
        raise InputError(
            f"inversion.record_every = {every} would alias the data: samples {every * observed.dt:g} s apart hold less "
            f"than the {wavelet.highest:g} Hz of the wavelet. Lower it."
        )
    return every


def _velocities(config: InvertConfig, observed: Observed, file: VelocityFile | None) -> tuple[float, float]:
    """Return the lowest and the highest velocity that a model may have, held cells included."""
    low, high = config.inversion.bounds
    if config.inversion.fixed_rows:
        for known in (file, observed.known):
            if known is not None:
                low, high = min(low, float(known.velocity.min())), max(high, float(known.velocity.max()))
    return low, high


def _truth(observed: Observed, grid: Grid, origin: Sequence[float]) -> np.ndarray | None:
    """Put the true model on the grid, if it is known."""
    if observed.known is None:
        return None
    velocity, spacing = observed.known.velocity, observed.known.spacing
    if grid == Grid(velocity.shape, spacing) and tuple(origin) == (0.0, 0.0):
        return velocity
    return resample(np.asarray(velocity, np.float64), spacing, grid, (origin[0], origin[1]))


def _completed(
    forward: PhysicsForward,
    setup: Setup,
    wavelet: SourceWavelet,
    amplitude: float | None,
    start: tuple[np.ndarray, np.ndarray | None],
    data: np.ndarray,
    weights: np.ndarray,
) -> tuple[ForwardModel, np.ndarray]:
    """Estimate the wavelet, or fit its amplitude, by the data that are predicted in the start."""
    survey, factor = setup.survey, 1.0 if amplitude is None else amplitude
    if not wavelet.estimated and (wavelet.calibrated or amplitude is not None):
        return replace(forward, survey=survey._replace(wavelets=factor * survey.wavelets)), data
    velocity, density = start
    predicted = jnp.asarray(fetch(jax.jit(with_density(forward, density).__call__)(jnp.asarray(velocity))))
    compared = predicted, jnp.asarray(data, predicted.dtype)
    if not wavelet.estimated:
        wavelets = survey.wavelets * fit_amplitude(*compared, jnp.asarray(weights))
    else:
        fired = survey.wavelets[(0,) * (survey.wavelets.ndim - 1)]
        found = jax.jit(estimate_source)(*compared, fired, jnp.asarray(weights))[0]
        length = min(len(fired), round(ESTIMATED_PERIODS / (wavelet.peak_frequency * setup.observed.dt)))
        window = np.pad(taper_end(length), (0, len(fired) - length))
        wavelets = jnp.broadcast_to(factor * found * jnp.asarray(window, found.dtype), survey.wavelets.shape)
    if not (jnp.isfinite(wavelets).all() and jnp.any(wavelets)):
        raise InputError(
            "Nothing is predicted in the starting model at the live traces, so the wavelet cannot be fitted. Check the "
            "times of the data and of the wavelet, or give setup.amplitude."
        )
    return replace(forward, survey=survey._replace(wavelets=wavelets)), data
