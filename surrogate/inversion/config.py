"""Describe an inversion: its settings, which `wave invert` reads as `inversion.*`, and their stages."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from data_gen.common.errors import InputError
from data_gen.common.plain import SEEDS
from data_gen.common.ranges import check_fields, ranged
from data_gen.solver.problem.simulation import SLOWEST_MEANT
from surrogate.inversion.forward import KINDS
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.optimizers import OPTIMIZERS, PROXIMAL
from surrogate.inversion.parametrizations.registry import PARAMETRIZATIONS
from surrogate.inversion.regularizers.registry import REGULARIZERS

OPERATOR = "operator"
ESTIMATED = "estimated"
DISCREPANCY = "discrepancy"
STARTS = ("smooth", "constant", "gradient", OPERATOR)
MODEL_FILES = (".npy", ".npz", ".segy", ".sgy")
LOW_FIDELITIES = ("coarse", "surrogate", "none")
INNER_OPTIMIZERS = ("lbfgs", "gauss_newton", "newton_cg")
NORMALIZATIONS = ("none", "traces", "shots")
SOURCES = ("fixed", "one", "each")
DENSITIES = ("rule", "free")
# Parametrizations and optimizers that treat two fields as they treat one.
FREE_PARAMETRIZATIONS = ("velocity", "slowness", "squared_slowness", "log")
FREE_OPTIMIZERS = ("adam", "lbfgs", "gauss_newton", "newton_cg")
PRECONDITIONERS = ("none", "illumination", "gauss_newton")
FLANK = 1.3  # from the end of a stage's band to where its gain is zero


@dataclass
class StageConfig:
    """Describe one stage of an inversion: what is null is as in `InversionConfig`, whose stages follow one another.

    Attributes:
        highest_frequency: End of the band of data and wavelets [Hz]: the gain falls from one in the middle of the band
            to zero at FLANK times this. Null keeps all above.
        lowest_frequency: Frequency [Hz] from which on the gain is one; it is zero below half of it. Null keeps all
            below.
        spacing: Side of the solver's own cells [m]; null takes the largest that the stage's band allows. The model
            keeps its cells.
        shots: Number of shots, spread evenly over those of the survey; null takes all.
        misfit: Misfit.
        optimizer: Optimizer.
        iterations: Largest number of iterations.
        simulations: Largest number of simulations of a shot, where a gradient counts 3 and a Hessian product 6; null
            for no limit.
        learning_rate: Step of Adam, or largest change by the first trial step of the others [m/s].
        gradient_smoothing: Standard deviation of the Gaussian that smooths gradients [cells].
        depth_power: Power of depth by which updates are weighted.
        batch: Number of shots that an iteration sees; 0 for all.
        encoding: Number of super-shots into which an iteration sums the shots; 0 sums none.
        low: Cheap forward model of `forward=corrected`, as in `CorrectedConfig`.
    """

    highest_frequency: float | None = ranged(None, "(0, inf)")
    lowest_frequency: float | None = ranged(None, "(0, inf)")
    spacing: float | None = ranged(None, "(0, inf)")
    shots: int | None = ranged(None, "[1, inf)")
    misfit: str | None = ranged(None, MISFITS)
    optimizer: str | None = ranged(None, OPTIMIZERS)
    iterations: int | None = ranged(None, "[1, inf)")
    simulations: int | None = ranged(None, "[1, inf)")
    learning_rate: float | None = ranged(None, "(0, inf)")
    gradient_smoothing: float | None = ranged(None, "[0, inf)")
    depth_power: float | None = ranged(None, "[0, inf)")
    batch: int | None = ranged(None, "[0, inf)")
    encoding: int | None = ranged(None, "[0, inf)")
    low: str | None = ranged(None, LOW_FIDELITIES)

    @property
    def filters(self) -> bool:
        """Whether the stage keeps a part of the band only."""
        return self.highest_frequency is not None or self.lowest_frequency is not None

    @property
    def needs_solver(self) -> bool:
        """Whether only the solver can do what the stage asks for."""
        return self.filters or self.spacing is not None or self.shots is not None


@dataclass
class MuteConfig:
    """Describe which times and offsets count; tapers are smooth, and both sides are muted alike.

    Attributes:
        early_velocity: Velocity of the wave before which samples are left out [m/s]; null mutes nothing early.
        early_start: Its time at offset zero [s], on the clock of the records.
        late_velocity: Velocity of the wave after which samples are left out [m/s]; null mutes nothing late.
        late_start: Its time at offset zero [s].
        time_taper: Time over which weights rise and fall [s].
        nearest: Smallest offset of full weight [m].
        farthest: Largest offset of full weight [m]; null for any.
        offset_taper: Distance over which weights rise and fall [m].
    """

    early_velocity: float | None = ranged(None, "(0, inf]")
    early_start: float = 0.0
    late_velocity: float | None = ranged(None, "(0, inf]")
    late_start: float = 0.0
    time_taper: float = ranged(0.05, "[0, inf)")
    nearest: float = ranged(0.0, "[0, inf)")
    farthest: float | None = ranged(None, "[0, inf]")
    offset_taper: float = ranged(0.0, "[0, inf)")

    @property
    def mutes(self) -> bool:
        """Whether anything is left out."""
        return (self.early_velocity, self.late_velocity, self.farthest) != (None, None, None) or self.nearest > 0


@dataclass
class CorrectedConfig:
    """Describe the cheap forward model of `forward=corrected`, and the steps by it (corrected/trust_region.py).

    Attributes:
        low: Cheap forward model: coarse (the solver on coarser cells), surrogate (that of `run`), or none (the plain
            optimizer).
        coarser: Side of the cells of `coarse`, in those of the solver in the stage.
        optimizer: Optimizer of the corrected misfit: lbfgs, gauss_newton or newton_cg.
        iterations: Largest number of its iterations around a center.
        secants: Number of past centers whose gradients correct its curvature; each costs a cheap gradient.
        radius: First radius of the trust region, the largest change of an unknown [m/s]; null for none.
        gradient_smoothing: Standard deviation of the Gaussian that smooths steps by the cheap model, which does not see
            the finest scales [cells]; null for half the side of the cells of `coarse`, 0 for none.
    """

    low: str = ranged("coarse", LOW_FIDELITIES)
    coarser: float = ranged(2.0, "(1, inf)")
    optimizer: str = ranged("lbfgs", INNER_OPTIMIZERS)
    iterations: int = ranged(10, "[1, inf)")
    secants: int = ranged(2, "[0, inf)")
    radius: float | None = ranged(None, "(0, inf)")
    gradient_smoothing: float | None = ranged(None, "[0, inf)")

    def check(self) -> None:
        """Refuse values that no inversion can use.

        Raises:
            InputError: For such a value.
        """
        check_fields(self, "inversion.corrected")


@dataclass
class InversionConfig:
    """Describe an inversion: the data, the start, and how the misfit is minimized.

    Attributes:
        kind: Kind of the data, gather (at the receivers) or wavefield (at every cell).
        misfit: Misfit between predicted and observed data: l2, trace_normalized_l2, global_correlation, huber,
            student_t, envelope, cross_correlation_delay, wasserstein, adaptive_waveform or frequency_phase. The last
            five compare traces along time, and need times dense enough for the waves.
        index: Index of the true model in the test stream, used unless a file gives the model.
        shots: Number of sources, spread evenly along a line at one depth.
        source_depth: Depth of the sources [m], a multiple of the cell size.
        record_every: Steps between two samples of the data. By default gathers are sampled at every step, and
            wavefields at the snapshot times of the data set. A surrogate knows only the times of its training.
        start: Model to start from: smooth (the true model, smoothed), constant, gradient (in depth), operator (what the
            run of a task=inverse answers to observed data), or the path of a velocity model, .npy, .npz or SEG-Y.
        smoothing: Standard deviation of the Gaussian that makes the smooth start [cells].
        start_velocity: Velocity of the constant start [m/s], by default the mean of the true model, or of the bounds
            where that is unknown; or of the gradient's start at z = 0, by default the lowest one.
        start_gradient: Growth of the gradient's start with depth [1/s], by default up to the highest velocity at the
            bottom.
        start_spacing: Cell size of the start's file [m]; null takes the one that the file gives.
        start_origin: Position `[z, x]` of its first cell [m]; null takes the one that the file gives.
        optimizer: Optimizer, adam, lbfgs, gauss_newton, newton_cg, or proximal_lbfgs, which takes the regularizer
            total_variation without smoothing.
        iterations: Largest number of iterations.
        cg_iterations: Largest number of Hessian products in an iteration of gauss_newton and newton_cg.
        learning_rate: Step of Adam in every cell, or largest change by the first trial step of the others [m/s].
        gradient_smoothing: Standard deviation of the Gaussian that smooths gradients [cells], 0 for none.
        depth_power: Power of depth by which updates are weighted; 0 weighs all cells alike. With sources and
            receivers at the surface, 0.5 to 1 lets L-BFGS change deep cells more readily.
        bounds: Lowest and highest velocity of an estimate [m/s], except in fixed rows.
        density: Density of the models: rule (it follows the velocity as `data.density` or `setup.density` says), or
            free (its ratio to the density by that rule is inverted along, by the solver). See density.py.
        density_bounds: Lowest and highest free density, in parts of that by the rule, except in fixed rows.
        start_density: Density that a free density starts from, the path of a .npy, .npz or SEG-Y file [kg/m^3]; null
            takes the rule's in the starting model.
        fixed_rows: Number of rows at the top whose velocity and density are known and held fixed, such as those of
            water [cells]. The start has the true model's velocities there.
        check_every: Iterations between two simulations of the true misfit, where an iteration does not compute it: of a
            surrogate's estimate, and of all shots where an iteration sees a batch or super-shots.
        batch: Number of shots that an iteration sees, at least 2; null or 0 for all. See batches.py.
        encoding: Number of super-shots, in each of which the sources of several shots fire at once with random signs;
            null or 0 sums no shots. For shots with the same receivers, and the l2 misfit.
        seed: Seed of batches and super-shots.
        stages: Stages, one after the other, each from the best model of the one before; none makes one stage of these
            settings. See `StageConfig`.
        simulations: Largest number of simulations of a shot in all stages together, where a gradient counts 3 and a
            Hessian product 6; null for no limit. Iterations are whole, so the last one may pass it.
        parametrization: Unknowns: velocity, slowness, squared_slowness, log, sigmoid, spline or network.
        parametrization_settings: Settings of the parametrization, such as knot_spacing of spline.
        regularizers: Regularizers by name: first_order, second_order, total_variation, gaussian_prior, distance. Each
            has a `weight`, by which its value is multiplied before it is added to the misfit (which has no unit), and
            settings of its own. One may have weight: discrepancy, which follows the misfit so that it stays at that
            of `noise` (discrepancy.py).
        preconditioner: Sensitivity that updates make up for: none, illumination (of the sources, by the solver), or
            gauss_newton (the diagonal of the Hessian of Gauss and Newton, by random probes), at each stage's start.
        preconditioner_level: Part of its mean that is added to the illumination or the diagonal.
        source: Whether wavelets are fixed, or estimated anew in every model that is simulated: one filter for all
            shots (one), or one for each (each).
        normalize: Whether each trace (traces) or each shot (shots) of both sides is divided by its root mean square, or
            none.
        mute: Times and offsets that are left out on both sides. See `MuteConfig`.
        noise: Noise of the data, at whose misfit a stage stops: estimated (from what is recorded before the first
            waves), or its root mean square relative to that of the data, taken for white noise; null is for none. For
            l2 and data that are not normalized. See noise_level.py.
        corrected: The cheap forward model of `forward=corrected`. See `CorrectedConfig`.
    """

    kind: str = ranged("gather", KINDS)
    misfit: str = ranged("l2", MISFITS)
    index: int = ranged(0, SEEDS)
    shots: int = ranged(5, "[1, inf)")
    source_depth: float = ranged(20.0, "[0, inf)")
    record_every: int | None = ranged(None, "[1, inf)")
    start: str = "smooth"
    smoothing: float = ranged(6.0, "[0, inf)")
    start_velocity: float | None = ranged(None, "(0, inf)")
    start_gradient: float | None = None
    start_spacing: float | None = ranged(None, "(0, inf)")
    start_origin: list[float] | None = ranged(None, "(-inf, inf)", length=2)
    optimizer: str = ranged("adam", OPTIMIZERS)
    iterations: int = ranged(100, "[1, inf)")
    cg_iterations: int = ranged(10, "[1, inf)")
    learning_rate: float = ranged(20.0, "(0, inf)")
    gradient_smoothing: float = ranged(0.0, "[0, inf)")
    depth_power: float = ranged(0.0, "[0, inf)")
    bounds: list[float] = ranged([1500.0, 4500.0], "(0, inf)", length=2)
    density: str = ranged("rule", DENSITIES)
    density_bounds: list[float] = ranged([0.8, 1.2], "(0, inf)", length=2)
    start_density: str | None = None
    fixed_rows: int = ranged(0, "[0, inf)")
    check_every: int = ranged(10, "[1, inf)")
    batch: int | None = ranged(None, "[0, inf)")
    encoding: int | None = ranged(None, "[0, inf)")
    seed: int = ranged(0, SEEDS)
    stages: list[StageConfig] = field(default_factory=list)
    simulations: int | None = ranged(None, "[1, inf)")
    parametrization: str = ranged("velocity", PARAMETRIZATIONS)
    parametrization_settings: dict[str, Any] = field(default_factory=dict)
    regularizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    preconditioner: str = ranged("none", PRECONDITIONERS)
    preconditioner_level: float = ranged(0.1, "(0, inf)")
    source: str = ranged("fixed", SOURCES)
    normalize: str = ranged("none", NORMALIZATIONS)
    mute: MuteConfig = field(default_factory=MuteConfig)
    noise: int | float | str | None = ranged(None, "(0, inf)")
    corrected: CorrectedConfig = field(default_factory=CorrectedConfig)

    def check(self) -> None:
        """Refuse values that no inversion can use.

        Raises:
            InputError: For such a value.
        """
        check_fields(self, "inversion")
        check_fields(self.mute, "inversion.mute")
        if self.start not in STARTS and Path(self.start).suffix.lower() not in MODEL_FILES:
            raise InputError(
                f"inversion.start must be one of {STARTS} or the path of a model file ({', '.join(MODEL_FILES)}), but "
                f"is {self.start!r}."
            )
        if not self.bounds[0] < self.bounds[1]:
            raise InputError(f"inversion.bounds must be [lowest, highest] in m/s, but is {self.bounds}.")
        if self.bounds[1] < SLOWEST_MEANT:
            raise InputError(
                f"inversion.bounds = {self.bounds} looks like km/s. Meters per second are meant: multiply by 1000."
            )
        if self.start_velocity is not None and not self.bounds[0] <= self.start_velocity <= self.bounds[1]:
            meant = " If it is in km/s, multiply by 1000." if self.start_velocity < SLOWEST_MEANT else ""
            raise InputError(
                f"inversion.start_velocity = {self.start_velocity} m/s lies outside inversion.bounds = "
                f"{self.bounds} m/s. Change one of them.{meant}"
            )
        self.corrected.check()
        self._check_draws()
        self._check_gathers_only()
        self._check_density()
        self._check_regularizers()
        self._check_proximal()
        self._check_noise()
        for number, stage in enumerate(self.stages):
            self._check_stage(number, stage)

    def of_stage(self, number: int) -> "InversionConfig":
        """Return the settings of one stage, with those that it changes.

        Args:
            number: Number of the stage, from 0; there is one without `stages`.

        Returns:
            Settings without stages.
        """
        stage = self.stage(number)
        shared = {item.name for item in fields(StageConfig)} & {item.name for item in fields(self)} - {"shots"}
        given = {name: getattr(stage, name) for name in shared if getattr(stage, name) is not None}
        corrected = self.corrected if stage.low is None else replace(self.corrected, low=stage.low)
        settings = replace(self, **given, corrected=corrected, stages=[])
        return replace(settings, batch=settings.batch or None, encoding=settings.encoding or None)

    @property
    def lows(self) -> set[str]:
        """Cheap forward models of `forward=corrected` in the stages."""
        return {self.of_stage(number).corrected.low for number in range(self.n_stages)}

    def stage(self, number: int) -> StageConfig:
        """Return one stage.

        Args:
            number: Number of the stage, from 0; there is one without `stages`.

        Returns:
            The stage.
        """
        return self.stages[number] if self.stages else StageConfig()

    @property
    def n_stages(self) -> int:
        """Number of stages."""
        return max(1, len(self.stages))

    @property
    def most_entries(self) -> int:
        """Number of the last entry of the history, if every stage makes all its iterations."""
        return sum(self.of_stage(number).iterations + 1 for number in range(self.n_stages)) - 1

    def _check_draws(self) -> None:
        if self.batch == 1:
            raise InputError("inversion.batch must be at least 2, but is 1. 0 takes all shots.")
        if not self.encoding:
            return
        if self.batch:
            raise InputError(
                f"inversion.batch = {self.batch} and inversion.encoding = {self.encoding} are two ways to simulate "
                "less in an iteration. Give one of them; 0 in a stage switches off what is given for all."
            )
        given = {"misfit": self.misfit, "normalize": self.normalize, "source": self.source}
        for name, needed in (("misfit", "l2"), ("normalize", "none"), ("source", "fixed")):
            if given[name] != needed:
                raise InputError(
                    f"inversion.encoding sums shots, which leaves the mean of the gradient what it is with inversion."
                    f"{name}={needed} only, but it is {given[name]}. Change it, or give inversion.batch in place of "
                    "encoding."
                )

    def _check_gathers_only(self) -> None:
        wanted = {"source": self.source != "fixed", "normalize": self.normalize != "none", "mute": self.mute.mutes}
        if self.kind != "gather" and any(wanted.values()):
            name = next(name for name, given in wanted.items() if given)
            raise InputError(f"inversion.{name} is for gathers, but inversion.kind is {self.kind!r}. Leave it out.")

    def _check_density(self) -> None:
        if not self.density_bounds[0] <= self.density_bounds[1]:
            raise InputError(
                "inversion.density_bounds must be [lowest, highest], in parts of the density by the rule, such as "
                f"[0.8, 1.2], but is {self.density_bounds}."
            )
        if self.density == "rule":
            if self.start_density is not None:
                raise InputError("inversion.start_density is that of a free density: give inversion.density=free, too.")
            return
        if self.start_density is not None and Path(self.start_density).suffix.lower() not in MODEL_FILES:
            raise InputError(
                f"inversion.start_density must be the path of a model file ({', '.join(MODEL_FILES)}), but is "
                f"{self.start_density!r}."
            )
        for name, known in (("parametrization", FREE_PARAMETRIZATIONS), ("optimizer", FREE_OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"inversion.density=free has two unknowns in each cell, which inversion.{name}="
                    f"{getattr(self, name)} cannot treat. Take one of {known}."
                )

    def _check_regularizers(self) -> None:
        for name, settings in self.regularizers.items():
            if name not in REGULARIZERS:
                raise InputError(f"inversion.regularizers must be among {tuple(REGULARIZERS)}, but one is {name!r}.")
            weight = settings.get("weight")
            if weight == DISCREPANCY:
                self._check_discrepancy(name)
            elif isinstance(weight, str) or weight is None or not 0 <= weight < float("inf"):
                raise InputError(
                    f"inversion.regularizers.{name} needs a weight, not negative, by which its value is added to the "
                    f"misfit: weight: NUMBER or weight: {DISCREPANCY}; but its settings are {dict(settings)}."
                )

    def _check_proximal(self) -> None:
        plain = {"parametrization": "velocity", "gradient_smoothing": 0.0}
        changed = [name for name, value in plain.items() if getattr(self, name) != value]
        if self.optimizer in PROXIMAL and changed:
            given = ", ".join(f"inversion.{name}={getattr(self, name)}" for name in changed)
            raise InputError(
                f"inversion.optimizer={self.optimizer} keeps the edges that total variation leaves in a velocity "
                f"model, but is given {given}. Set "
                f"{', '.join(f'inversion.{name}={plain[name]}' for name in changed)}, or take "
                "inversion.optimizer=lbfgs, which smooths total variation."
            )
        if self.optimizer in PROXIMAL and self.chooses_weight:
            raise InputError(
                f"inversion.optimizer={self.optimizer} needs a number as the weight of total variation, but it is "
                f"{DISCREPANCY}. Give a number, or take inversion.optimizer=lbfgs."
            )

    @property
    def chooses_weight(self) -> bool:
        """Whether the weight of a regularizer is to be chosen."""
        return any(settings.get("weight") == DISCREPANCY for settings in self.regularizers.values())

    @property
    def unknowns_are_cells(self) -> bool:
        """Whether each unknown is that of a cell, so that they can be weighed and smoothed as cells."""
        return self.parametrization not in ("spline", "network")

    def _check_discrepancy(self, name: str) -> None:
        wanted = {"noise": self.noise is not None, "batch": not self.batch, "encoding": not self.encoding}
        wanted["regularizers"] = len(self.regularizers) == 1
        missed = [key for key, met in wanted.items() if not met]
        if missed:
            raise InputError(
                f"inversion.regularizers.{name}.weight={DISCREPANCY} keeps the misfit of all shots at that of noise. "
                "It needs inversion.noise, no other regularizer, and neither inversion.batch nor encoding; but "
                f"{', '.join(f'{key} is {getattr(self, key)}' for key in missed)}. Change that, or give a number."
            )

    def _check_noise(self) -> None:
        if self.noise is None:
            return
        if isinstance(self.noise, str) and self.noise != ESTIMATED:
            raise InputError(
                f"inversion.noise must be {ESTIMATED}, or the noise's root mean square relative to that of the data, "
                f"such as 0.1, but is {self.noise!r}. Null is for none."
            )
        if self.misfit != "l2" or self.normalize != "none":
            raise InputError(
                f"inversion.noise stops at the misfit that noise alone leaves, which is known for inversion.misfit=l2 "
                f"of data that are not normalized, where it is the noise's part of their energy. But misfit="
                f"{self.misfit} and normalize={self.normalize}. Take l2 and none, or leave inversion.noise out and "
                "limit iterations."
            )

    def _check_stage(self, number: int, stage: StageConfig) -> None:
        name = f"inversion.stages[{number}]"
        check_fields(stage, name)
        low, high = stage.lowest_frequency, stage.highest_frequency
        if low is not None and high is not None and not low < high:
            raise InputError(f"The band of {name} must ascend, but is {low:g} to {high:g} Hz.")
        if stage.needs_solver and self.kind != "gather":
            raise InputError(f"{name} chooses a band, cells or shots of gathers, but inversion.kind is {self.kind!r}.")
        try:
            self.of_stage(number).check()
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
