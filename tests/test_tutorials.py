"""The notebooks: stored with the outputs of a whole run, and the first of them runs here (`make notebooks`: all)."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from tests.helpers import ROOT

FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
BYTES = 1_500_000


def cells_of(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_stored_outputs(file):
    """Cells ran in their order, without an error, in one process; nothing names a folder of one machine."""
    cells = cells_of(file)
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    text = "".join("".join(output.get("text", "")) for output in outputs)
    assert re.search(r"/(tmp|home|root|work|var)/", text) is None, text
    assert file.stat().st_size < BYTES


def test_a_tutorial_runs(monkeypatch):
    """From the listing to an inversion: the gradient is that of finite differences, and the misfit falls."""
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    mpl.use("Agg")
    names: dict[str, Any] = {}
    for cell in cells_of(FOLDER / "from_numpy_to_jax.ipynb"):
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    # The second difference errs by the square of a twentieth of the step to the true model.
    assert float(names["jnp"].vdot(names["gradient"], names["direction"])) == pytest.approx(
        float(names["slope"]), rel=0.02
    )
    assert names["values"][-1] < 0.1 * names["values"][0]
    names["plt"].close("all")
