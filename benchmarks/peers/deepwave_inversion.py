"""Deepwave as a contender of `benchmarks.inversion`: its gradients, stage by stage, under L-BFGS of SciPy or PyTorch.

What it is given, so that it does its best:

- the stage's low-passed data and wavelet; cells of the stage's size, whose squared slowness is the mean over what they
  cover of the model, and PAD more around them, so that a windowed sinc places every point between cells;
- receivers at whole cells, of which two products with matrices make those between them: its own sinc takes them one by
  one in Python, which is nine tenths of the time of a gradient with 401 receivers;
- differences of order 8, its highest; the longest stable step that divides the data's step or is a multiple of it;
- temporal dispersion in the observed data (`deepwave.time_dispersion`), put there once, not taken out of every record;
- for gradients, its field at every so many steps: four and more in a period of the band's end (`interval`);
- as many shots at once as there are cores, over which it spreads them;
- on cells other than the model's, no receivers within NEAR cells of the source, where its waves of all lengths meet, of
  which coarse cells hold some: with them the true model misfits by 1 % of the data's energy in OpenFWI's geometry.

Its equation is `laplacian p - p_tt / v^2 = f`, so the source is `f = -w / spacing^2`. Bounds: L-BFGS-B keeps to them;
for PyTorch's L-BFGS with strong Wolfe conditions the unknown is `logit((v - low) / (high - low))`, as in Deepwave's own
example. Unknowns are scaled so that the first step changes no cell by more than `learning_rate`, as ours does.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import os
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import deepwave
import numpy as np
import torch
from deepwave.time_dispersion import correct_source
from scipy.optimize import minimize

from benchmarks.inversion_contender import Problem, Report, StageData
from benchmarks.inversion_replay import Replay
from benchmarks.peers.deepwave import versions

__all__ = ["run", "versions"]

PAD = 4  # cells around the model: half the width of the sinc that places points
KAISER = 6.31  # of the sinc's window, Hicks' choice for this width
NEAR = 3  # cells
NONE = 1e-9  # a smaller weight is rounding
MEMORY = 20  # pairs that L-BFGS keeps, as ours
COURANT_NUMBER = 0.784  # just under the limit of order 8
EDGE = 1e-3  # of the bounds: how close to them a logit may start

torch.set_flush_denormal(True)


def overlaps(cells: int, spacing: float, first: float, count: int, wanted: float) -> np.ndarray:
    """Weights `(count, cells)` of cells in the means over others, of which the first begins at `first`; edges go on."""
    edges = np.arange(cells + 1) * spacing
    edges[0], edges[-1] = -np.inf, np.inf
    low = first + np.arange(count)[:, None] * wanted
    covered = np.minimum(low + wanted, edges[1:]) - np.maximum(low, edges[:-1])
    return np.maximum(covered, 0.0) / wanted


def sinc_weights(points: np.ndarray, count: int, free: bool) -> np.ndarray:
    """Weights `(n, count)` of cells in the field at points, by Hicks' sinc (Geophysics 67, 2002) of half width PAD.

    The field is odd about the free surface, one cell before the first one.
    """
    cells = np.arange(-PAD - 1, count + PAD)
    far = points[:, None] - cells
    window = np.i0(KAISER * np.sqrt(np.maximum(1 - (far / PAD) ** 2, 0))) / np.i0(KAISER)
    weights = np.sinc(far) * window * (np.abs(far) < PAD)
    found = weights[:, PAD + 1 : PAD + 1 + count].copy()
    if free:
        found[:, :PAD] -= weights[:, PAD - 1 :: -1]
    return found


@dataclass(frozen=True, eq=False)
class Forward:
    """Simulate the shots of one stage, and compute the misfit's gradient."""

    problem: Problem
    stage: StageData

    @cached_property
    def longest(self) -> float:
        """The longest stable step [s]."""
        return COURANT_NUMBER * self.stage.spacing / (np.sqrt(2) * self.problem.bounds[1]) * (1 + 1e-9)

    @cached_property
    def every(self) -> int:
        """Samples of the data in one that is compared: as many as the step and the band allow."""
        return max(1, int(min(self.longest, 0.4 / self.stage.zero_from) / self.problem.dt))

    @cached_property
    def ratio(self) -> int:
        """Steps in a sample that is compared."""
        return ceil(self.every * self.problem.dt / self.longest)

    @property
    def step(self) -> float:
        return self.every * self.problem.dt / self.ratio

    @property
    def samples(self) -> int:
        return (self.problem.nt - 1) // self.every + 1

    @cached_property
    def axes(self) -> list[tuple[torch.Tensor, float]]:
        """Weights of the model's cells in each of the stage's, and where the first of these has its center [m]."""
        (nz, nx), h, wanted = self.problem.start.shape, self.problem.spacing, self.stage.spacing
        found = []
        for cells, free in ((nz, self.problem.free_surface), (nx, False)):
            if free:  # zero one cell above its first row, which is where our first row is
                count = ceil((cells * h - h / 2 - wanted / 2) / wanted) + PAD
                first = h / 2 + wanted / 2
            else:
                count = ceil(cells * h / wanted - 1e-9)
                first = -(count * wanted - cells * h) / 2 - PAD * wanted
                count += 2 * PAD
            weights = torch.from_numpy(overlaps(cells, h, first, count, wanted))
            found.append((weights, first + wanted / 2 - h / 2))
        return found

    def model(self, velocity: torch.Tensor) -> torch.Tensor:
        """The model on the stage's cells."""
        (rows, _), (columns, _) = self.axes
        return (rows @ velocity.double() ** -2 @ columns.T).rsqrt().float()

    def places(self, points: np.ndarray) -> torch.Tensor:
        """Positions in cells, counted from the first one."""
        starts = np.array([start for _, start in self.axes])
        return torch.from_numpy((points - starts) / self.stage.spacing)

    @cached_property
    def listening(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cells that are recorded `(rows, columns, 2)`, and their weights in receivers `(rows)` and `(n, columns)`."""
        depths, places = self.places(self.problem.receivers).numpy().T
        if np.ptp(depths) > 0:
            raise ValueError("The receivers of these set-ups lie at one depth.")
        (rows, _), (columns, _) = self.axes
        down = sinc_weights(depths[:1], len(rows), self.problem.free_surface)[0]
        across = sinc_weights(places, len(columns), False)
        heard = [np.flatnonzero(np.abs(down) > NONE), np.flatnonzero((np.abs(across) > NONE).any(axis=0))]
        cells = torch.from_numpy(np.stack(np.meshgrid(*heard, indexing="ij"), axis=-1))
        return cells, *(torch.from_numpy(w).float() for w in (down[heard[0]], across[:, heard[1]]))

    @cached_property
    def wavelet(self) -> torch.Tensor:
        fired = self._dispersed(torch.from_numpy(self.stage.wavelet)[None])[0]
        return (-fired / self.stage.spacing**2).float()

    @cached_property
    def observed(self) -> torch.Tensor:
        """The observed gathers `(shots, receivers, nt)`, with the dispersion of the step."""
        traces = torch.from_numpy(self.stage.observed).transpose(1, 2)
        found = [self._dispersed(shot)[:, :: self.ratio][:, : self.samples] for shot in traces]
        return torch.stack(found).float() * self.heard

    def _dispersed(self, traces: torch.Tensor) -> torch.Tensor:
        """Traces at every step, warped as the leap-frog warps time."""
        traces = traces[..., :: self.every].double()
        n = traces.shape[-1]
        # The record goes on as its own image, so that its end is no edge.
        spectrum = torch.fft.rfft(torch.cat([traces, traces.flip(-1)], -1))
        fine = torch.fft.irfft(spectrum, 2 * n * self.ratio) * self.ratio
        length = n * self.ratio
        return correct_source(fine[..., :length], self.step, nt_out=2 * length)[..., :length]

    @cached_property
    def heard(self) -> torch.Tensor:
        """Whether a receiver counts in a shot `(shots, receivers, 1)`."""
        between = self.problem.sources[:, None] - self.problem.receivers
        near = 0.0 if self.stage.spacing == self.problem.spacing else NEAR * self.stage.spacing
        return torch.from_numpy(np.linalg.norm(between, axis=-1) >= near)[..., None]

    @cached_property
    def interval(self) -> int:
        """Steps from one field that the gradient sees to the next."""
        return max(1, int(1 / (4 * self.stage.zero_from * self.step)))

    def shots(self, model: torch.Tensor, which: slice) -> torch.Tensor:
        sources = self.places(self.problem.sources[which])[:, None]
        cells, down, across = self.listening
        # Whole intervals: the record is long enough for one more.
        steps = ceil(((self.samples - 1) * self.ratio + 1) / self.interval) * self.interval
        layers = self.stage.layers
        faces = {"boundary": ["free", "pml", "pml", "pml"]} if self.problem.free_surface else {}
        output = deepwave.scalar(
            model,
            self.stage.spacing,
            self.step,
            source_amplitudes=self.wavelet[:steps].expand(len(sources), 1, -1),
            source_locations=sources,
            receiver_locations=cells.reshape(1, -1, 2).expand(len(sources), -1, -1),
            accuracy=8,
            pml_width=[0 if self.problem.free_surface else layers, layers, layers, layers],
            pml_freq=min(self.problem.peak_frequency, self.stage.highest_frequency),
            max_vel=self.problem.bounds[1],
            courant_number=COURANT_NUMBER,
            check_output_finite=False,
            model_gradient_sampling_interval=self.interval,
            **faces,
        )
        assert output.info.step_ratio == 1
        heard = output.receiver_amplitudes[..., :: self.ratio][..., : self.samples]
        return across @ torch.einsum("r,srct->sct", down, heard.unflatten(1, cells.shape[:2]))

    def misfit_and_gradient(self, velocity: np.ndarray) -> tuple[float, np.ndarray]:
        """The relative misfit, and its gradient by the model's cells."""
        leaf = torch.from_numpy(velocity).requires_grad_()
        together, total = len(os.sched_getaffinity(0)), 0.0
        for first in range(0, len(self.problem.sources), together):
            which = slice(first, first + together)
            difference = self.shots(self.model(leaf), which) * self.heard[which] - self.observed[which]
            misfit = torch.sum(difference.double() ** 2) / self.energy
            misfit.backward()
            total += float(misfit.detach())
        return total, leaf.grad.numpy().astype(np.float64)

    @cached_property
    def energy(self) -> torch.Tensor:
        return torch.sum(self.observed.double() ** 2)


class Stopped(Exception):
    """The contender is told to stop."""


class Tally:
    """Evaluate the stages' misfits, count simulations and the entries of the history, and keep the last one's model."""

    def __init__(self, problem: Problem, replay: Replay, report: Report):
        self.problem, self._replay, self._report = problem, replay, report
        self.free = np.broadcast_to(np.arange(len(problem.start))[:, None] >= problem.fixed_rows, problem.start.shape)
        self.best, self.gradients, self._entries, self._stage = problem.start, 0, 0, -1

    def begin(self, stage: StageData) -> None:
        self._stage += 1
        self._evaluate = self._replay.of(f"stage-{self._stage}", Forward(self.problem, stage).misfit_and_gradient)

    def compute(self, velocity: np.ndarray) -> tuple[float, np.ndarray]:
        """The misfit and its gradient, zero in the fixed rows."""
        value, gradient = self._evaluate(velocity)
        self.gradients += len(self.problem.sources)
        return value, np.where(self.free, gradient, 0.0)

    def tell(self, value: float, velocity: np.ndarray) -> None:
        self.best = velocity
        if not self._report(self._stage, self._entries, value, velocity, 3 * self.gradients):
            raise Stopped
        self._entries += 1


def run(problem: Problem, optimizer: str, replay: Replay, report: Report) -> tuple[np.ndarray, list[int]]:
    """The model after all stages, and forwards, gradients and Hessian products; `optimizer` is `scipy` or `torch`."""
    model, tally = problem.start.astype(np.float64), Tally(problem, replay, report)
    try:
        for stage in problem.stages():
            tally.begin(stage)
            model = METHODS[optimizer](tally, stage, model)
    except Stopped:
        model = tally.best
    return model, [0, tally.gradients, 0]


def scipy_lbfgsb(tally: Tally, stage: StageData, start: np.ndarray) -> np.ndarray:
    """L-BFGS-B; its first trial step has length one."""
    problem, weights = tally.problem, tally.problem.weights
    first = tally.compute(start)
    tally.tell(first[0], start)
    steepest = weights * first[1]
    unit = weights * problem.learning_rate * np.linalg.norm(steepest) / np.max(np.abs(weights * steepest))
    best, known = {"value": first[0], "model": start}, [first]

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        velocity = start + unit * x.reshape(start.shape)
        # Where it starts is known already: the unit comes from there.
        value, gradient = known.pop() if known else tally.compute(velocity)
        if value < best["value"]:
            best.update(value=value, model=velocity)
        return value, (unit * gradient).ravel()

    low, high = (np.where(tally.free, (bound - start) / unit, 0.0).ravel() for bound in problem.bounds)
    minimize(
        function,
        np.zeros(start.size),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([np.minimum(low, 0.0), np.maximum(high, 0.0)], axis=1),
        callback=lambda x: tally.tell(best["value"], best["model"]),
        options={"maxiter": stage.iterations, "maxcor": MEMORY, "ftol": 0.0, "gtol": 0.0, "maxfun": 10**6},
    )
    return best["model"]


def torch_lbfgs(tally: Tally, stage: StageData, start: np.ndarray) -> np.ndarray:
    """PyTorch's L-BFGS; its first trial step is the gradient over the sum of its magnitudes."""
    low, high = tally.problem.bounds
    part = np.clip((start - low) / (high - low), EDGE, 1 - EDGE)
    logits = np.log(part / (1 - part))
    value, gradient = tally.compute(start)
    tally.tell(value, start)
    weights, slope = tally.problem.weights, (high - low) * part * (1 - part)
    steepest = weights * slope * gradient
    unit = weights * tally.problem.learning_rate * np.abs(steepest).sum() / np.max(np.abs(weights * slope * steepest))
    best = {"value": np.inf, "model": start}
    x = torch.zeros(start.shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], lr=1.0, max_iter=1, history_size=MEMORY, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        part = 1 / (1 + np.exp(-(logits + unit * x.detach().numpy())))
        velocity = np.where(tally.free, low + (high - low) * part, start)
        value, gradient = tally.compute(velocity)
        if value < best["value"]:
            best.update(value=value, model=velocity)
        x.grad = torch.from_numpy(unit * (high - low) * part * (1 - part) * gradient)
        return torch.tensor(value, dtype=torch.float64)

    for _ in range(stage.iterations):
        optimizer.step(closure)
        tally.tell(best["value"], best["model"])
    return best["model"]


METHODS = {"scipy": scipy_lbfgsb, "torch": torch_lbfgs}
