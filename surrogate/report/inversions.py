"""Draw the figures of an inversion from the files in its folder, `result.npz` and `comparison.npz`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from surrogate.figures import Figure, curves
from surrogate.figures import inversions as figures
from surrogate.inversion.comparison import Comparison
from surrogate.inversion.corrected.trust_region import TRIAL
from surrogate.inversion.model_error import error_by_wavelength

COMPARISON = "comparison.npz"
# Figures that an inversion stores, in the order of the page.
STORED = {
    "models": "Models, their change by the inversion, and the first gradient.",
    "density": "Densities, their change by the inversion, and the first gradient by the relative density.",
    "curves": "Misfit and model error by iteration; dotted where a stage begins.",
}


class Drawn(NamedTuple):
    """Hold a figure of a page.

    Attributes:
        name: Name of the figure.
        caption: Sentences that say how to read it.
        figure: The figure.
    """

    name: str
    caption: str
    figure: Figure


def stages_of(result: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Find the stages of an inversion; one that tells none had one.

    Args:
        result: Arrays of `result.npz`.

    Returns:
        The stage of each iteration `(iterations + 1,)`, from zero on, and the model at the end of each stage
        `(n_stages, nz, nx)` [m/s].
    """
    if "stage" not in result:
        return np.zeros(len(result["misfit"]), int), result["velocity"][None]
    return result["stage"], result["stage_models"]


def stored_figures(result: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Draw the figures that an inversion stores: the models and the history.

    Args:
        result: Arrays of `result.npz`.

    Returns:
        The figures, by the names in `STORED`.
    """
    panels, changes = _compared(result["start"], result["velocity"], result.get("true"))
    shown = ["misfit"]
    if not np.array_equal(result["true_misfit"], result["misfit"]):
        shown.append("true_misfit")
    if np.isfinite(result["model_error"]).any():
        shown.append("model_error")
    if "density_error" in result and np.isfinite(result["density_error"]).any():
        shown.append("density_error")
    iterations, (stage, _) = np.arange(len(result["misfit"])), stages_of(result)
    # Misfits of one stage can be compared, those of two cannot: their data differ.
    first = np.searchsorted(stage, stage)
    since = {name: result[name][0] if name.endswith("_error") else result[name][first] for name in shown}
    lines = {name.replace("_", " "): (iterations, result[name] / since[name]) for name in shown}
    relative = "relative to the start" if stage[-1] == stage[0] else "relative to the start (misfits: of the stage)"
    spacing, density = float(result["spacing"]), {}
    if "density" in result:
        compared = _compared(result["start_density"], result["density"], result.get("true_density"))
        quantity = ("density", "kg/m^3")
        density["density"] = figures.inversion_models(*compared, result["density_gradient"], spacing, quantity)
    return {
        "models": figures.inversion_models(panels, changes, result["gradient"], spacing),
        **density,
        "curves": curves(lines, "iteration", relative, [*np.flatnonzero(np.diff(stage)) + 0.5]),
    }


def _compared(
    start: np.ndarray, estimate: np.ndarray, true: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Name start, estimate and true model, and their differences from the start."""
    panels, changes = {"start": start, "estimate": estimate}, {"estimate - start": estimate - start}
    if true is not None:
        panels, changes = {"true": true, **panels}, {"true - start": true - start, **changes}
    return panels, changes


def inversion_figures(folder: Path) -> list[Drawn]:
    """Draw all further figures of an inversion.

    Args:
        folder: Folder of the inversion.

    Returns:
        The figures; none of the data and of stages where the folder has no comparison of the data, and none at all
        where it has no arrays, as stored results have.
    """
    compares = (folder / COMPARISON).exists()
    if not (folder / "result.npz").exists():
        return []
    with np.load(folder / "result.npz", allow_pickle=False) as result:
        drawn = (_of_models(result) if compares else []) + _of_trials(result)
    if not compares:
        return drawn
    with np.load(folder / COMPARISON, allow_pickle=False) as arrays:
        compared = Comparison(*(arrays[name] for name in Comparison._fields))
        wavelets = (arrays["wavelets"], float(arrays["wavelet_dt"])) if "wavelets" in arrays else None
    return drawn + _of_data(compared) + ([] if wavelets is None else [_of_wavelets(*wavelets)])


def _of_models(result: Mapping[str, np.ndarray]) -> list[Drawn]:
    """Draw the update of each stage, and the errors by wavelength where the true model is known."""
    drawn, (_, models), spacing = [], stages_of(result), float(result["spacing"])
    if len(models) > 1:
        changes = np.diff(np.concatenate([result["start"][None], models]), axis=0)
        panels = {f"stage {i + 1}": change for i, change in enumerate(changes)}
        drawn.append(Drawn("stages", "Change of the model by each stage.", figures.updates(panels, spacing)))
    if "true" in result:
        errors = error_by_wavelength(np.stack([result["start"], result["velocity"]]), result["true"], spacing)
        caption = (
            "Model error by wavelength: root mean square within each octave, and that of the true model itself. Where "
            "the error is as large as the true model, nothing of it was found."
        )
        figure = figures.model_errors(errors.edges, errors.rms, errors.variation)
        drawn.append(Drawn("model_errors", caption, figure))
    return drawn


def _of_trials(result: Mapping[str, np.ndarray]) -> list[Drawn]:
    """Draw the trials of a corrected cheap model, if there are some."""
    if "trials" not in result or not len(result["trials"]):
        return []
    found = dict(zip(TRIAL, result["trials"][:, 1:].T, strict=True))
    caption = (
        "Trials of the corrected cheap model: accepted where the misfit fell, ratios near 1 where it fell as "
        "predicted; the trust region shrinks below 1/4 and grows above 3/4. Counts begin anew in each stage."
    )
    counts = found["gradients"], found["low_gradients"]
    return [Drawn("trials", caption, figures.trials(found["kind"], found["ratio"], found["radius"], *counts))]


def _of_data(compared: Comparison) -> list[Drawn]:
    """Draw what tells observed from predicted data."""
    sources = compared.sources[:: compared.break_steps[0]]
    titles = [f"shot {shot + 1}" for shot in compared.gather_shots]
    return [
        Drawn(
            "misfits",
            "Misfit l2 by shot and by offset, whichever misfit was minimized: sum of the squared errors over that of "
            "the observed data, without mutes and normalization.",
            figures.misfits(
                compared.misfit_by_shot, compared.sources, compared.misfit_by_offset, compared.offset_edges
            ),
        ),
        Drawn(
            "gathers",
            "Observed (black bar) and predicted (colored bar) traces in turn: events go on across the bars where both "
            "agree. Each trace is divided by the root mean square of the observed one."
            + _thinned(("sample", "receiver"), compared.gather_steps),
            figures.interleaved(compared.gathers, compared.gather_receivers, float(compared.gather_dt), titles),
        ),
        Drawn(
            "first_breaks",
            "First breaks, observed less predicted: red where the model is too fast, blue where it is too slow; gray "
            "where a trace has none. The median is that of the magnitudes."
            + _thinned(("shot", "receiver"), compared.break_steps),
            figures.delays(compared.first_breaks[0] - compared.first_breaks[1:], sources, compared.break_receivers),
        ),
        Drawn(
            "spectra",
            "Amplitude spectra: root mean square over all traces, relative to the peak of the observed ones.",
            figures.spectra(compared.spectra, compared.frequencies),
        ),
    ]


def _of_wavelets(wavelets: np.ndarray, dt: float) -> Drawn:
    caption = "Wavelet before and after it was fitted to the data, each in units of its largest amplitude."
    return Drawn("wavelets", caption, figures.wavelets(wavelets[0], wavelets[1], dt))


def _thinned(names: tuple[str, str], steps: np.ndarray) -> str:
    """Say which part of the data is drawn."""
    return "".join(
        f" Of the {name}s, one in {step} is drawn." for name, step in zip(names, steps, strict=True) if step > 1
    )
