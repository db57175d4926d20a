"""Text is UTF-8 whatever the locale: each file names its encoding, and a console that lacks a sign escapes it."""

import ast
import io
import sys

import pytest

from data_gen.common.errors import InputError, one_paragraph
from data_gen.common.files import write_text
from tests.helpers import ROOT

FOLDERS = ("data_gen", "surrogate", "benchmarks", "examples")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
TEXT = {"read_text", "write_text", "fdopen", "TemporaryFile", "NamedTemporaryFile"}
OTHERS = {"os", "segyio", "archive", "Image", "zarr", "webbrowser"}  # objects whose `open` opens no text


def opens_text(call: ast.Call) -> bool:
    """Whether a call opens a text file or a process's text, as far as its names and its mode tell."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if name in ("run", "Popen", "check_output") and "text" in {keyword.arg for keyword in call.keywords}:
        return True
    if name == "open":
        owner = getattr(function, "value", None)
        owner = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        return owner not in OTHERS and not any("b" in mode for mode in modes)
    return (
        isinstance(function, ast.Attribute)
        and name in TEXT
        and not any("b" in mode and len(mode) <= 3 for mode in modes)
    )


def test_text_files_have_an_encoding():
    """The locale's encoding may have no arrow, or read a config in another alphabet."""
    calls = {
        f"{file.relative_to(ROOT)}:{node.lineno}": node
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text(node)
    }
    assert len(calls) > 10
    assert [p for p, call in calls.items() if "encoding" not in {keyword.arg for keyword in call.keywords}] == []


def test_written_text_replaces_the_file_or_leaves_it(tmp_path):
    """A text that cannot be encoded, such as half a surrogate pair, leaves the file of before and nothing else."""
    file = tmp_path / "page.html"
    write_text(file, "1 → 2 µs")
    assert file.read_bytes() == "1 → 2 µs".encode()
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\ud800")
    assert file.read_bytes() == "1 → 2 µs".encode() and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_printing_never_fails(monkeypatch, encoding):
    """Also a path whose bytes are no UTF-8, which Python holds as a surrogate, and the message of an error."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    @one_paragraph
    def main():
        print("1 → 2 µs in \udcff")
        raise InputError("no")

    with pytest.raises(SystemExit, match="error: no"):
        main()
    out.flush()
    printed = out.buffer.getvalue().decode(encoding)
    assert printed.replace("→", "\\u2192").replace("µ", "\\xb5") == "1 \\u2192 2 \\xb5s in \\udcff\n"
