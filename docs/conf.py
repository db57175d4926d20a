"""Configure the Sphinx site: `make docs` builds it in `build/docs`, and fails on any warning or broken link."""

import re
import sys
import zlib
from importlib import import_module
from pathlib import Path

from docutils import nodes
from omegaconf import OmegaConf
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

project = "wave-surrogate"
release = import_module("data_gen").__version__
author = "wave-surrogate developers"
copyright = "2026, wave-surrogate developers"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
]

html_theme = "sphinx_book_theme"
html_title = f"wave-surrogate {release}"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True, "navbar_persistent": []}
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored with their output

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the shapes stand in the text
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # the entries of Attributes stand in the text of their class
default_role = "code"
add_module_names = False
nitpicky = False


# Inventories of the pages that ours refer to, written here so that the site builds without a network.
JAX = ("jax.grad", "jax.jvp", "jax.vjp", "jax.vmap", "jax.jit", "jax.random.key", "jax.random.fold_in")
NUMPY = ("numpy.load", "numpy.savez")


def _inventory(name: str, objects: tuple[str, ...], page: str) -> str:
    """Write the inventory of Python objects whose pages are at `page`, and return its path."""
    lines = "".join(f"{item} py:function 1 {page.format(item)}#$ -\n" for item in objects)
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    file = HERE.parent / "build" / f"{name}.inv"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(file)


intersphinx_mapping = {
    "jax": ("https://docs.jax.dev/en/latest/", _inventory("jax", JAX, "_autosummary/{}.html")),
    "numpy": ("https://numpy.org/doc/stable/", _inventory("numpy", NUMPY, "reference/generated/{}.html")),
}


SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")


def _to_rest(app, what, name, obj, options, lines: list[str]) -> None:
    """Turn a docstring of ours into reStructuredText: plain text, `code`, and indented blocks that are literal."""
    result: list[str] = []
    in_section = in_literal = False
    for line in lines:
        indented, after_gap = line.startswith("    "), not result or not result[-1].strip()
        if not indented and line.strip():
            in_section, in_literal = bool(SECTION.fullmatch(line.strip())), False
        if indented and not in_section and after_gap and not in_literal:
            result += ["::", ""]
            in_literal = True
        if in_literal:
            result.append(line)
            continue
        pieces = re.split(r"(`[^`]*`)", line)
        result.append("".join(p if p.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", p) for p in pieces))
    lines[:] = result


def _skip_fields(app, what, name, obj, skip, options) -> bool | None:
    """Skip the fields of a NamedTuple: its own docstring has them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


class Settings(SphinxDirective):
    """Make the table of the settings of a config, from its dataclass: `settings:: MODULE.CLASS PREFIX`."""

    required_arguments, optional_arguments = 1, 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        from data_gen.common.config_docs import keys_of

        module, _, name = self.arguments[0].rpartition(".")
        prefix = self.arguments[1] if len(self.arguments) > 1 else ""
        schema = getattr(import_module(module), name)
        rows = [("", "default", "values", "")]
        for key in keys_of(OmegaConf.structured(schema), prefix):
            value = "null" if key.value is None else str(key.value).replace("'", "")
            kind = key.kind if key.allowed is None else f"{key.kind}, {key.allowed}"
            rows.append((f"`{key.name}`", f"`{value}`" if value else "", kind, key.text))
        lines = [":::{list-table}", ":header-rows: 1", ":widths: 28 14 22 36", ""]
        for row in rows:
            lines += [f"{'  ' if number else '* '}- {cell}" for number, cell in enumerate(row)]
        return self.parse_text_to_nodes("\n".join([*lines, ":::"]))


def setup(app) -> None:
    """Register the tables of settings, and the treatment of docstrings before napoleon's."""
    app.add_directive("settings", Settings)
    app.connect("autodoc-process-docstring", _to_rest, priority=100)
    app.connect("autodoc-skip-member", _skip_fields)
