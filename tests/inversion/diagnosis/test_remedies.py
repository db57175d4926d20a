"""Every key and value that a text of the diagnosis names exists in the config of `wave invert`.

Texts are read from the source, so that remedies of findings which no test raises are among them.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import filter as matching
from pathlib import Path

from omegaconf import OmegaConf

from data_gen.common.config_docs import keys_of
from surrogate.config import InvertConfig
from surrogate.inversion import diagnosis
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.observed.setup import SetupConfig

KEY = re.compile(r"\b[a-z_]+(?:\.[a-z_*]+)+|\b[a-z_]+(?==\S)")
VALUES = re.compile(r"\b(inversion|setup)\.([a-z_]+)=(\w+)(?: or (\w+)(?![\w.]))?")
CHECKED = {"inversion": InversionConfig, "setup": SetupConfig}
KNOWN = [key.name for key in keys_of(OmegaConf.structured(InvertConfig))]


def texts(module: Path) -> Iterator[str]:
    """Strings of a module but docstrings, with a star for what is formatted into them."""
    tree = ast.parse(module.read_text())
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value


def test_keys_and_values_of_remedies_exist():
    whole = "\n".join(text for module in Path(diagnosis.__path__[0]).glob("*.py") for text in texts(module))
    keys = set(KEY.findall(whole))
    assert {"inversion.misfit", "inversion.mute.*_velocity", "wavelet", "setup.duration"} <= keys
    assert {key for key in keys if not matching(KNOWN, key)} == set()
    values = [(group, key, value) for group, key, *both in VALUES.findall(whole) for value in both if value]
    assert {("inversion", "misfit", "student_t"), ("setup", "line_source", "direct")} <= set(values)
    for group, key, value in values:
        CHECKED[group](**{key: value}).check()
