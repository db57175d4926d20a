"""Judge whether data were made by the same simulation that fits them, so that its errors cancel (the inverse crime).

Sources: A. Wirgin, "The inverse crime", arXiv:math-ph/0401050 (2004); J. Kaipio and E. Somersalo, Statistical and
Computational Inverse Problems (2005), section 1.2.
"""

from data_gen.solver.diagnosis import Finding, judge

SAME = 5e-3  # relative difference of data: simulations of two grids or orders differ by more
ROUNDING = 1e-5  # of the start's misfit, that is of its energy: an error of 0.3 % in amplitude

REMEDY = (
    "The errors of the simulation cancel, so that the result is better than with recorded data. Make data with cells "
    "of another size, another order or other layers (wave generate data.internal_spacing=..., then observed=FOLDER), "
    "with noise and another wavelet, before anything is concluded."
)


def judge_crime(simulated: bool, residual: float | None, fall: float | None, ratio: float) -> Finding:
    """Judge how data and the forward model are related.

    Args:
        simulated: Whether the data are simulated by the forward model itself.
        residual: Norm of the difference between the data and those predicted in the true model, relative to the data;
            None where the true model is unknown.
        fall: Misfit of a finished inversion of these data in units of its start's; None for none.
        ratio: Signal-to-noise ratio of the data [dB].

    Returns:
        The finding.
    """
    crime = simulated or (residual is not None and residual < SAME) or (fall is not None and fall < ROUNDING)
    parts = ["data simulated by the forward model itself" if simulated else f"data with {ratio:.3g} dB"]
    if residual is not None:
        parts.append(f"{residual:.2g} from those predicted in the true model")
    if fall is not None:
        parts.append(f"the finished inversion fell to {fall:.2g} of its start's misfit")
    wanted = f"data of another simulation (> {SAME:g}) or of the earth"
    return judge("inverse crime", "; ".join(parts), wanted, REMEDY if crime else "")
