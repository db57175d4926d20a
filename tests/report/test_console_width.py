"""Every stored result is printed in full on a console of 80 columns."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from data_gen.common.console import print_tables
from surrogate.report.page import write_report

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def folder_of(file: Path, root: Path) -> None:
    name = "inversion.json" if "true_misfit" in json.loads(file.read_text()) else "metrics.json"
    (root / file.stem).mkdir(parents=True)
    shutil.copy(file, root / file.stem / name)


@pytest.mark.parametrize("group", ["demo", "reference"])
def test_stored_results_fit_80_columns(group, tmp_path):
    """No line is longer, no cell is shortened; only the first column may be broken into lines."""
    stored = sorted((RESULTS / group).glob("*.json"))
    assert stored
    for file in stored:
        folder_of(file, tmp_path)
    report, tables = write_report(tmp_path)
    for table in tables:
        out = io.StringIO()
        print_tables(report.relative_to(tmp_path), [table], Console(width=80, file=out))
        text = out.getvalue()
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        for cell in [cell for row in [table["columns"], *table["rows"]] for cell in row[1:]]:
            assert cell in text
