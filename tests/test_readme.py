"""The README's code is the examples' code, and short."""

import re

import pytest

from tests.helpers import ROOT


@pytest.mark.parametrize("name", ["simulate", "predict", "invert"])
def test_snippets_are_the_examples(name):
    readme = (ROOT / "README.md").read_text()
    block = re.search(rf"\(examples/{name}\.py\).*?```python\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    lines = block[1].strip().split("\n")
    example = (ROOT / "examples" / f"{name}.py").read_text().replace("  # noqa: E731", "")
    assert len(lines) <= 15 and all(line in example for line in lines)
