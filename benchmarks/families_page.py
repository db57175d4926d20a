"""Write docs/results/families.md."""

from pathlib import Path


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    raise NotImplementedError
