"""Check that every public function, method and config class documents what it takes, returns and raises.

Rules of Google style that ruff's pydocstyle rules do not hold, since they are silent where a section is missing:

- A public function or method with parameters has `Args:` with one entry for each, `Returns:` (or `Yields:`) unless that
  is None, and `Raises:` with every exception class that its own body raises by name.
- A public dataclass or NamedTuple has `Attributes:` with one entry for each of its fields; an inherited field may be
  documented in the base class.
- A class with an `__init__` of its own documents it in the class docstring.
- "See `Class.method`." or "See `function`." stands for every entry that the named docstring has.
- The first line of a docstring is a sentence that ends there, and no sentence opens with a word of `UNWANTED`.

Names with a leading underscore, properties, overloads, nested functions and `__main__` are left out. The source is
parsed, not imported. `python -m tests.test_words PATH...` prints what is missing in files and folders, one a line
(without a path: in `PACKAGES`), and the counts last.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data_gen", "surrogate")
UNWANTED = ("Of", "What", "Who", "Beside", "Nothing")

Function = ast.FunctionDef | ast.AsyncFunctionDef
LEFT_OUT = {"property", "cached_property", "overload", "setter", "getter", "deleter"}
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ENTRY = re.compile(r" {4}\*{0,2}([\w.]+):(?: |$)")
_UNWANTED = re.compile(
    rf"(?:\A|[.!?][)'\"`]*\s+|\n\s*\n\s*|\n\s*[-*] |\n\s*\w+: )\s*({'|'.join(UNWANTED)})\b(?!['\"`])"
)


@dataclass(frozen=True)
class Definition:
    """A public function, method or class with its dotted name; `owner` is the class of a method."""

    name: str
    file: Path
    node: Function | ast.ClassDef
    owner: ast.ClassDef | None

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def last_name(node: ast.AST | None) -> str:
    """The last part of a dotted name: `dataclass` of `@dataclasses.dataclass(frozen=True)`, `Task` of `Task[int]`."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_public(function: Function) -> bool:
    left_out = LEFT_OUT & {last_name(decorator) for decorator in function.decorator_list}
    return not left_out and (function.name == "__call__" or not function.name.startswith("_"))


def definitions(file: Path) -> Iterator[Definition]:
    """Every public definition of a module, methods after their class."""
    module = ".".join(file.resolve().relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if any(part.startswith("_") for part in module.split(".")):
        return

    def inside(parent: ast.AST, prefix: str, owner: ast.ClassDef | None) -> Iterator[Definition]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.If | ast.Try | ast.With):
                yield from inside(node, prefix, owner)
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield Definition(f"{prefix}.{node.name}", file, node, owner)
                yield from inside(node, f"{prefix}.{node.name}", node)
            elif isinstance(node, Function) and is_public(node):
                yield Definition(f"{prefix}.{node.name}", file, node, owner)

    yield from inside(parsed(file), module, None)


def sections(docstring: str) -> dict[str, list[str]]:
    """The entries of each section of a docstring; `Returns` and `Yields` are there or not."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in docstring.splitlines():
        if header := _SECTION.fullmatch(line):
            current = found.setdefault(header[1], [])
        elif line and not line.startswith(" "):
            current = None
        elif current is not None and (entry := _ENTRY.match(line)):
            current.append(entry[1])
    return found


def parameters(function: Function, *, method: bool) -> list[str]:
    """The names of all parameters but `self` and `cls`."""
    arguments = function.args
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    if method and "staticmethod" not in map(last_name, function.decorator_list):
        names = names[1:]
    names += [argument.arg for argument in arguments.kwonlyargs]
    return names + [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]


def own_body(function: Function) -> Iterator[ast.AST]:
    """All nodes of a function's body except those of functions and classes inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def raised(function: Function) -> list[str]:
    """The exception classes that a function raises by name, without those that mark abstract methods and bugs."""
    names = (last_name(node.exc) for node in own_body(function) if isinstance(node, ast.Raise))
    return sorted({name for name in names if name[:1].isupper()} - {"NotImplementedError", "AssertionError"})


def results(function: Function) -> str:
    """The section that tells what a function gives back: `Returns`, `Yields`, or none."""
    annotation = ast.unparse(function.returns).strip("'\"") if function.returns else ""
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_body(function)):
        return "" if re.fullmatch(r"(\w+\.)*(Iterator|Generator|Iterable)\[None(, None)*\]", annotation) else "Yields"
    if annotation:
        return "" if annotation in ("None", "NoReturn", "Never") else "Returns"
    values = (node.value for node in own_body(function) if isinstance(node, ast.Return))
    return "Returns" if any(value and ast.unparse(value) != "None" for value in values) else ""


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a NamedTuple."""
    return "dataclass" in map(last_name, node.decorator_list) or "NamedTuple" in map(last_name, node.bases)


def fields(node: ast.ClassDef) -> list[str]:
    """The public fields of a class, without class variables."""
    annotated = [
        child
        for child in node.body
        if isinstance(child, ast.AnnAssign) and "ClassVar" not in ast.unparse(child.annotation)
    ]
    return [child.target.id for child in annotated if isinstance(child.target, ast.Name) and child.target.id[0] != "_"]


@cache
def tree() -> dict[str, list[Definition]]:
    """All public definitions of the packages by the last part of their names."""
    found: dict[str, list[Definition]] = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for definition in definitions(file):
                found.setdefault(definition.name.split(".")[-1], []).append(definition)
    return found


def referred(docstring: str) -> list[Definition]:
    """The definitions that "See `name`." in a docstring points to."""
    names = re.findall(r"\bSee `([\w.]+?)(?:\(\))?`", docstring)
    known = [(name, each) for name in names for each in tree().get(name.split(".")[-1], ())]
    return [each for name, each in known if f".{each.name}".endswith(f".{name}")]


def documented(docstring: str) -> dict[str, set[str]]:
    """The entries of each section of a docstring and of those it refers to; fields count as arguments as well."""
    found: dict[str, set[str]] = {}
    own = sections(docstring)
    for text in (docstring, *(definition.docstring for definition in referred(docstring))):
        for section, entries in sections(text).items():
            found.setdefault(section, set()).update(entries)
    if own.get("Args") is None:
        found.setdefault("Args", set()).update(found.get("Attributes", ()))
    return found


def missing_of_call(docstring: str, function: Function, *, method: bool, returns: bool = True) -> Iterator[str]:
    """The entries that a docstring lacks for a call of a function."""
    names = parameters(function, method=method)
    if not names:
        return
    known = documented(docstring)
    if lacking := [name for name in names if name not in known.get("Args", ())]:
        yield f"Args: lacks {', '.join(lacking)}"
    if strange := [name for name in sections(docstring).get("Args", ()) if name not in names]:
        yield f"Args: has {', '.join(strange)}, which the signature has not"
    section = results(function) if returns else ""
    if section and not known.keys() & {"Returns", "Yields"}:
        yield f"{section}: is missing"
    if lacking := [
        name for name in raised(function) if name not in {each.split(".")[-1] for each in known.get("Raises", ())}
    ]:
        yield f"Raises: lacks {', '.join(lacking)}"


def missing_of_record(definition: Definition, node: ast.ClassDef) -> Iterator[str]:
    """The entries that the docstring of a dataclass or NamedTuple lacks for its fields."""
    bases = [
        each for base in node.bases for each in tree().get(last_name(base), []) if isinstance(each.node, ast.ClassDef)
    ]
    inherited = {name for base in bases for name in sections(base.docstring).get("Attributes", ())}
    own = sections(definition.docstring).get("Attributes", [])
    if lacking := [
        name
        for name in fields(node)
        if name not in {*own, *documented(definition.docstring).get("Attributes", ()), *inherited}
    ]:
        yield f"Attributes: lacks {', '.join(lacking)}"
    if not bases and (strange := [name for name in own if name not in fields(node)]):
        yield f"Attributes: has {', '.join(strange)}, which are no fields"


def missing(definition: Definition) -> list[str]:
    """All entries that one definition lacks."""
    node = definition.node
    if isinstance(node, Function):
        return list(missing_of_call(definition.docstring, node, method=definition.owner is not None))
    found = list(missing_of_record(definition, node)) if is_record(node) else []
    for child in node.body:
        if isinstance(child, Function) and child.name == "__init__":
            found += missing_of_call(definition.docstring, child, method=True, returns=False)
    return found


def sentences(file: Path) -> Iterator[tuple[int, str]]:
    """Line and complaint for every docstring and comment of a file that breaks the rules for sentences."""
    texts: list[tuple[int, str]] = []
    for node in ast.walk(parsed(file)):
        if isinstance(node, Function | ast.ClassDef | ast.Module) and (docstring := ast.get_docstring(node)):
            line = getattr(node, "lineno", 1)
            texts.append((line, docstring))
            if not docstring.splitlines()[0].endswith((".", "?", "!")):
                yield line, f"first line does not end a sentence: {docstring.splitlines()[0]!r}"
    block, last = [], (-1, -1)
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            # A comment on lines of its own continues the one above it.
            if block and token.start == (last[0] + 1, last[1]):
                block[-1] = (block[-1][0], f"{block[-1][1]}\n{token.string.lstrip('#: ')}")
            else:
                block.append((token.start[0], token.string.lstrip("#: ")))
            last = token.start
    for line, text in texts + block:
        for match in _UNWANTED.finditer(text):
            yield line, f"a sentence opens with {match[1]!r}: {' '.join(text[match.start(1) :].split())[:60]!r}"


def complaints(file: Path) -> list[str]:
    """All that is wrong with a file, one a line."""
    found = [
        (each.node.lineno, f"{each.name.split('.', 1)[-1]}: {lack}")
        for each in definitions(file)
        for lack in missing(each)
    ]
    where = file.resolve().relative_to(ROOT)
    return [f"{where}:{line}: {complaint}" for line, complaint in sorted([*found, *sentences(file)])]


def files(paths: list[str] | tuple[str, ...]) -> list[Path]:
    """The Python files at and under paths relative to the root of the repository."""
    return sorted(
        {file for path in paths for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))}
    )


def counts(chosen: list[Path]) -> str:
    """How many functions with parameters and config classes there are, and how many lack an entry."""
    every = [each for file in chosen for each in definitions(file)]
    functions = [
        each for each in every if isinstance(each.node, Function) and parameters(each.node, method=bool(each.owner))
    ]
    records = [each for each in every if isinstance(each.node, ast.ClassDef) and is_record(each.node)]
    return ", ".join(
        f"{len(group)} {name}, {sum(bool(missing(each)) for each in group)} of them lack an entry"
        for name, group in (("public functions with parameters", functions), ("dataclasses and NamedTuples", records))
    )


@pytest.mark.parametrize("file", files(PACKAGES), ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_are_complete(file):
    found = complaints(file)
    assert not found, "\n".join(found)


def test_a_gap_is_found(tmp_path, monkeypatch):
    """The rules refuse what they should: each line of a docstring that is left out is one complaint."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "tree", dict)
    file = tmp_path / "module.py"
    file.write_text(SPECIMEN)
    assert complaints(file) == []
    for line, complaint in GAPS.items():
        parsed.cache_clear()
        file.write_text(SPECIMEN.replace(line, "", 1))
        assert SPECIMEN.count(line) and any(complaint in found for found in complaints(file)), line


SPECIMEN = '''"""A module."""


@dataclass
class Config:
    """Describe a thing.

    Attributes:
        width: Width [m].
    """

    width: float


def area(config: Config, *, height: float) -> float:
    """Return an area.

    Args:
        config: Its width.
        height: Its height [m].

    Returns:
        The area [m^2].

    Raises:
        InputError: If `height` is negative.
    """
    if height < 0:
        raise InputError("Negative height.")
    return config.width * height
'''
GAPS = {
    "        width: Width [m].\n": "Config: Attributes: lacks width",
    "        height: Its height [m].\n": "area: Args: lacks height",
    "    Returns:\n": "area: Returns: is missing",
    "        InputError: If `height` is negative.\n": "area: Raises: lacks InputError",
    ", *, height: float": "area: Args: has height",
    ".\n\n    Args": "first line does not end a sentence",
}


if __name__ == "__main__":
    selected = files(sys.argv[1:] or PACKAGES)
    lines = [complaint for selected_file in selected for complaint in complaints(selected_file)]
    print(*lines, counts(selected), sep="\n")
    sys.exit(bool(lines))
