"""Lay out the page of the playground with Bokeh, and answer what its user does."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColorBar,
    ColumnDataSource,
    Div,
    FileInput,
    FreehandDrawTool,
    Image,
    LinearColorMapper,
    PointDrawTool,
    Range1d,
    Select,
    Slider,
)
from bokeh.plotting import figure
from jinja2 import Environment
from matplotlib import colormaps
from matplotlib.colors import to_hex

from data_gen.common.errors import InputError, NumericalError
from surrogate.inversion.descent import StopInversion
from surrogate.models.training_distance import FAR
from surrogate.play.scene import ITERATIONS, OURS, SOLVER, Scene, Shot

WIDTH = 330  # of a panel [pixels]
WRAPPED = {"flex-wrap": "wrap"}  # rows of panels fit any window
PHONES = """{% extends base %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">{% endblock %}"""
EVERY = 150  # between two looks at what was moved [ms]
BRUSH = 3  # radius of a stroke [cells]
ERROR_SCALE = 5  # errors are shown so many times larger
INTRO = """<h1 style="margin:0">Playground</h1>
<p style="margin:.3em 0;max-width:60em">Drag the source (the white dot), paint a velocity into the model with the
pencil, draw another model or load one. The solver, the coarse solver and the surrogate answer; their errors are
relative L2 differences from the solver, and their times are those of one shot on this machine.</p>"""


def palette(name: str) -> list[str]:
    """Make a palette of a color map of matplotlib.

    Args:
        name: Name of the color map.

    Returns:
        256 colors.
    """
    return [to_hex(color) for color in colormaps[name](np.linspace(0, 1, 256))]


class Page:
    """Hold what one user sees and does.

    Args:
        document: Document of the session.
        scene: Methods and models that all users share.
    """

    def __init__(self, document: Document, scene: Scene):
        self.document, self.scene = document, scene
        self.velocity, self.seed = scene.draw(scene.families[0], 0), 0
        self.shot: Shot | None = None
        self.stopping: threading.Event | None = None
        grid = scene.spec.simulation.grid
        self.extent = grid.extent  # (depth, width)
        self.moved = True
        self._make_controls()
        self._make_panels()
        document.title, document.template = "wave play", Environment(autoescape=True).from_string(PHONES)
        document.add_root(self._layout())
        document.add_periodic_callback(self.update, EVERY)
        document.on_session_destroyed(lambda context: self.stop())
        self.update()

    def _make_controls(self) -> None:
        scene = self.scene
        self.family = Select(
            title="Family", value=scene.families[0], options=list(scene.families), width=2 * WIDTH // 3
        )
        self.another = Button(label="Another", width=WIDTH // 4, align="end")
        self.upload = FileInput(accept=".npy,.npz,.sgy,.segy", title="Load a model (.npy, .npz, SEG-Y)", width=WIDTH)
        low, high = scene.spec.mixture.min_velocity, scene.spec.mixture.max_velocity
        self.brush = Slider(title="Velocity of the pencil [m/s]", start=low, end=high, value=high, step=50, width=WIDTH)
        count = len(next(iter(self._first_fields().values())))
        self.snapshot = Slider(title="Snapshot", start=1, end=max(count, 2), value=max(count // 2, 1), step=1)
        self.snapshot.visible = count > 1
        self.snapshot.width = WIDTH
        self.start = Button(label=f"Invert: {ITERATIONS} iterations", button_type="primary", width=WIDTH // 2)
        self.told = Div(sizing_mode="stretch_width")
        self.table = Div(sizing_mode="stretch_width")
        self.family.on_change("value", lambda attr, old, new: self.draw(0))
        self.another.on_click(lambda: self.draw(self.seed + 1))
        self.upload.on_change("value", lambda attr, old, new: self._arrived(new))
        self.snapshot.on_change("value", lambda attr, old, new: self.show())
        self.start.on_click(self.invert)

    def _first_fields(self) -> dict[str, np.ndarray]:
        self.shot = self.scene.shoot(self.velocity, self.scene.middle)
        return self.shot.fields

    def _make_panels(self) -> None:
        low, high = self.scene.spec.mixture.min_velocity, self.scene.spec.mixture.max_velocity
        self.speeds = LinearColorMapper(palette=palette("viridis"), low=low, high=high)
        self.pressures = LinearColorMapper(palette=palette("RdBu_r"), low=-1, high=1)
        depth, width = self.extent
        self.model, self.model_image = self._panel("Velocity model", self.speeds, (width, depth))
        z, x = self.scene.middle
        self.source = ColumnDataSource({"x": [x], "y": [z]})
        dot = self.model.scatter("x", "y", source=self.source, size=14, color="white", line_color="black")
        self.strokes = ColumnDataSource({"xs": [], "ys": []})
        lines = self.model.multi_line("xs", "ys", source=self.strokes, line_width=6, line_color="white", line_alpha=0.6)
        drag = PointDrawTool(renderers=[dot], add=False, num_objects=1, description="Drag the source")
        pencil = FreehandDrawTool(renderers=[lines], num_objects=1, description="Paint a velocity")
        self.model.add_tools(drag, pencil)
        self.model.toolbar.active_tap = drag
        self.source.on_change("data", lambda attr, old, new: self.touch())
        self.strokes.on_change("data", lambda attr, old, new: self.paint())
        size = self._field_size()
        self.panels: dict[str, tuple[Any, ColumnDataSource]] = {}
        for name in self.scene.methods:
            self.panels[name] = self._panel(name.replace("_", " "), self.pressures, size)
        for name in self.scene.methods:
            if name != SOLVER:
                title = f"{ERROR_SCALE} x error of the {name.replace('_', ' ')}"
                self.panels[f"error {name}"] = self._panel(title, self.pressures, size)
        self.estimate, self.estimate_image = self._panel("Inversion", self.speeds, (width, depth))
        self.curve = figure(
            width=WIDTH,
            height=WIDTH * 3 // 4,
            title="Misfit and model error, over their start",
            x_axis_label="iteration",
            y_axis_type="log",
            tools="",
        )
        self.curve.toolbar.logo = None
        self.history = ColumnDataSource({"iteration": [], "misfit": [], "error": []})
        for name, color in (("misfit", "#0072B2"), ("error", "#D55E00")):
            self.curve.line("iteration", name, source=self.history, color=color, line_width=2, legend_label=name)
        self.curve.legend.location = "bottom_left"
        for panel in (self.model, self.estimate):
            panel.add_layout(ColorBar(color_mapper=self.speeds, title="m/s", width=8, padding=4), "right")
        self.estimate.visible = self.curve.visible = False

    def _field_size(self) -> tuple[float, float]:
        """Width and height of a prediction: [m] and [m], or [m] and [s]."""
        depth, width = self.extent
        if self.scene.task.name == "wavefield":
            return width, depth
        time = self.scene.spec.simulation.time
        return width, time.dt * (time.nt - 1)

    def _panel(self, title: str, mapper: LinearColorMapper, size: tuple[float, float]) -> tuple[Any, ColumnDataSource]:
        """Make a panel with an image, the first row on top."""
        in_space = size[1] == self.extent[0]
        panel = figure(
            width=WIDTH,
            height=WIDTH,
            title=title,
            x_range=Range1d(start=0, end=size[0]),
            y_range=Range1d(start=size[1], end=0),
            x_axis_label="x [m]",
            y_axis_label="z [m]" if in_space else "t [s]",
            tools="",
        )
        panel.toolbar.logo = None
        source = ColumnDataSource({"image": [np.zeros((2, 2), np.float32)]})
        image = Image(image="image", x=value(0), y=value(0), dw=value(size[0]), dh=value(size[1]), color_mapper=mapper)
        panel.add_glyph(source, image)
        return panel, source

    def _layout(self) -> Any:
        fields = [panel for panel, _ in self.panels.values()]
        methods, errors = fields[: len(self.scene.methods)], fields[len(self.scene.methods) :]
        controls = column(
            row(self.family, self.another), self.upload, self.brush, self.snapshot, self.start, width=WIDTH + 20
        )
        return column(
            Div(text=INTRO, sizing_mode="stretch_width"),
            row(self.model, controls, styles=WRAPPED, sizing_mode="stretch_width"),
            self.told,
            self.table,
            row(*methods, styles=WRAPPED, sizing_mode="stretch_width"),
            row(*errors, styles=WRAPPED, sizing_mode="stretch_width"),
            row(self.estimate, self.curve, styles=WRAPPED, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    def touch(self) -> None:
        """Note that something was moved; the next look computes it."""
        self.moved = True

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Say something above the table.

        Args:
            text: The text, which is shown as it is.
            wrong: Whether it is about a mistake.
        """
        color = "#b2182b" if wrong else "inherit"
        plain = text.replace("&", "&amp;").replace("<", "&lt;")
        self.told.text = f'<p role="status" style="margin:.2em 0;max-width:60em;color:{color}">{plain}</p>'

    def draw(self, seed: int) -> None:
        """Show another model of the chosen family.

        Args:
            seed: Seed of its random numbers.
        """
        self.seed = seed
        self.velocity = self.scene.draw(self.family.value, seed)
        self.tell(f"{self.family.value}, number {seed}")
        self.touch()

    def _arrived(self, content: str) -> None:
        # The name of the file is set after its content, by the same message.
        self.document.add_next_tick_callback(lambda: self.load(str(self.upload.filename), content))

    def load(self, name: str, content: str) -> None:
        """Show a model that the user has sent.

        Args:
            name: Name of its file.
            content: The file in base64.
        """
        try:
            self.velocity, where = self.scene.read(name, content)
        except InputError as error:
            self.tell(str(error), wrong=True)
            return
        self.tell(f"{name}: {where}")
        self.touch()

    def paint(self) -> None:
        """Set the cells near a stroke to the velocity of the pencil."""
        if not self.strokes.data["xs"]:
            return
        z, x = (np.moveaxis(self.scene.spec.simulation.grid.centers, -1, 0)[axis] for axis in (0, 1))
        changed, near = self.velocity.copy(), np.zeros(self.velocity.shape, bool)
        for xs, ys in zip(self.strokes.data["xs"], self.strokes.data["ys"], strict=True):
            for at_x, at_z in zip(xs, ys, strict=True):
                near |= (z - at_z) ** 2 + (x - at_x) ** 2 <= (BRUSH * self.scene.spec.simulation.grid.spacing) ** 2
        changed[near] = self.brush.value
        self.velocity = changed
        self.strokes.data = {"xs": [], "ys": []}
        self.touch()

    def at_source(self) -> tuple[float, float]:
        """Return the position (z, x) of the source, within the model [m]."""
        depth, width = self.extent
        spacing = self.scene.spec.simulation.grid.spacing
        (x,), (z,) = self.source.data["x"][:1], self.source.data["y"][:1]
        return float(np.clip(z, 0, depth - spacing)), float(np.clip(x, 0, width - spacing))

    def update(self) -> None:
        """Compute and show the shot, if anything was moved since the last look."""
        if not self.moved:
            return
        self.moved = False
        try:
            self.shot = self.scene.shoot(self.velocity, self.at_source())
        except InputError as error:
            self.tell(str(error), wrong=True)
            return
        self.show()

    def show(self) -> None:
        """Show the shot at the chosen snapshot."""
        assert self.shot is not None
        at = min(int(self.snapshot.value), len(self.shot.fields[SOLVER])) - 1
        truth = self.shot.fields[SOLVER][at]
        if self.snapshot.visible:
            self.snapshot.title = f"Snapshot, {1e3 * self.scene.spec.simulation.snapshot_times[at]:.0f} ms"
        largest = float(np.abs(truth).max()) or 1.0
        self.model_image.data = {"image": [self.velocity]}
        self.pressures.low, self.pressures.high = -largest / 2, largest / 2
        for name in self.scene.methods:
            self.panels[name][1].data = {"image": [self.shot.fields[name][at]]}
            if name != SOLVER:
                error = ERROR_SCALE * (self.shot.fields[name][at] - truth)
                self.panels[f"error {name}"][1].data = {"image": [error]}
        self.table.text = table(self.shot)

    def stop(self) -> None:
        """End the inversion that runs, if one does."""
        if self.stopping is not None:
            self.stopping.set()

    def invert(self) -> None:
        """Start an inversion of shots through the model that is shown, or end the one that runs."""
        if self.stopping is not None:
            self.stop()
            return
        self.stopping = stopping = threading.Event()
        self.start.label = "Stop"
        self.estimate.visible = self.curve.visible = True
        self.history.data = {"iteration": [], "misfit": [], "error": []}
        velocity, rows = self.velocity, []

        def on_progress(iteration: int, values: dict[str, float]) -> None:
            rows.append((values["misfit"], values["model_error"]))
            scaled = np.array(rows) / np.array(rows[0])
            series = {"iteration": list(range(len(rows))), "misfit": scaled[:, 0], "error": scaled[:, 1]}
            self._later(lambda: self.history.update(data=series))
            if stopping.is_set():
                raise StopInversion("its user stopped it")

        def work() -> None:
            try:
                _, result = self.scene.invert(velocity, on_progress)
                said = f"Inverted: the misfit fell to {result.misfit[-1] / result.misfit[0]:.2g} of its start."
                self._later(lambda: self.estimate_image.update(data={"image": [result.velocity]}))
                self._later(lambda: self.tell(said))
            except (InputError, NumericalError) as error:
                message = str(error)
                self._later(lambda: self.tell(message, wrong=True))
            finally:
                self._later(self._ended)

        threading.Thread(target=work, daemon=True).start()

    def _ended(self) -> None:
        self.stopping, self.start.label = None, f"Invert: {ITERATIONS} iterations"

    def _later(self, change: Callable[[], None]) -> None:
        """Change the page from another thread, unless its user has left."""
        if self.document.session_context is not None:
            self.document.add_next_tick_callback(change)


def table(shot: Shot) -> str:
    """Make the table of errors and times.

    Args:
        shot: The shot.

    Returns:
        HTML.
    """
    cells = '<td style="padding:.1em 1em;text-align:right">'
    rows = ""
    for name, seconds in shot.seconds.items():
        error = "-" if name == SOLVER else f"{shot.errors[name]:.4f}"
        numbers = error, f"{1e3 * seconds:.1f} ms", f"{seconds / shot.seconds[SOLVER]:.2f} x"
        rows += f"<tr><td>{name.replace('_', ' ')}</td>" + "".join(f"{cells}{text}</td>" for text in numbers) + "</tr>"
    distance = "" if shot.distance is None else _in_words(shot.distance)
    worth = "" if shot.seconds[OURS] < shot.seconds[SOLVER] else " The surrogate is slower than the solver here."
    return (
        f"<table><tr><th></th><th>error</th><th>time</th><th>of the solver's</th></tr>{rows}</table>"
        f"<p style='margin:.2em 0'>Errors are those of all times together.{worth}{distance}</p>"
    )


def _in_words(distance: float) -> str:
    like = "unlike" if distance > FAR else "like"
    return f" The model is {like} those that the surrogate has learned from (distance {distance:.1f})."
