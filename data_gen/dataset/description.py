"""Describe a data set: its config, size, fields, units and software versions."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_gen.dataset.manifest import read_manifest, shards_of
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.truth import truth_in_words

UNITS = {
    "velocity": "m/s",
    "density": "kg/m^3",
    "direction": "m/s",
    "sources": "(z, x) m",
    "receivers": "(z, x) m",
    "spacing": "m",
    "dt": "s",
    "delay": "s",
    "peak_time": "s",
    "peak_frequency": "Hz",
    "peak_frequency_spread": "Hz",
    "water_depth": "m",
    "frequencies": "Hz",
    "snapshot_times": "s",
    "source_depths": "m",
    "receiver_depth": "m",
    "internal_spacing": "m",
    "nz": "cells",
    "nx": "cells",
    "nt": "steps",
    "receiver_every": "cells",
    "gather_every": "steps",
    "absorbing_width": "cells",
}
COUNTS = {"sources": "shots"}  # settings that have the name of a field, but are a number of these
LONGEST_LIST = 12


def checksum_of_all(manifest: Mapping[str, Any]) -> str:
    """Compute one checksum of all records, as the hash of the checksums of all shards.

    Args:
        manifest: Manifest of the data set.

    Returns:
        SHA-256 (hexadecimal), which does not depend on the number of machines that made the records.
    """
    digests = [manifest["shards"].get(shard.name, {}).get("sha256", "") for shard in shards_of(manifest)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def describe(path: str | Path, console: Console) -> None:
    """Print the description of a data set.

    Args:
        path: Folder of the data set.
        console: Console to print on.
    """
    path = Path(path)
    manifest = read_manifest(path)
    state = "complete" if manifest["complete"] else "unfinished: run the command that started it again"
    console.print(f"[bold]{escape(str(path))}[/bold]: {manifest['source']}, {state}", soft_wrap=True)
    checksum = checksum_of_all(manifest)[:16]
    console.print(f"fingerprint {manifest['fingerprint']}, checksum of all shards {checksum}", soft_wrap=True)
    console.print(truth_in_words(manifest), soft_wrap=True)
    _print(console, "Splits", ("split", "samples", "shards", "MB on disk"), _splits(manifest, path))
    fields = [
        (name, " x ".join(map(str, field["shape"])) or "one", field["dtype"], UNITS.get(name, ""))
        for name, field in manifest["fields"].items()
    ]
    _print(console, "One record", ("field", "shape", "type", "unit"), fields)
    recipe = dict(manifest["recipe"])
    if families := recipe.pop("families", None):
        rows = []
        for name, options in families.items():
            options = dict(options or {})
            weight = options.pop("weight", 1)
            rows.append((name, f"{weight:g}", ", ".join(f"{key} {value}" for key, value in options.items())))
        _print(console, "Families of velocity models", ("family", "weight", "parameters"), rows)
    if files := recipe.pop("files", None):
        rows = [(file["name"], str(file["samples"]), file["sha256"][:12]) for file in files]
        _print(console, "Made of the files", ("file", "samples", "sha256"), rows)
    settings = [
        (key, _short(value), (UNITS | COUNTS).get(key, "")) for key, value in recipe.items() if key not in SPLITS
    ]
    _print(console, "Settings", ("name", "value", "unit"), settings)
    _print(console, "Made with", ("software", "version"), list(manifest["versions"].items()))


def _short(value: object) -> str:
    """Write a value; a long list, such as the samples of a wavelet, by its ends."""
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return f"{len(value)} entries, from {value[0]} to {value[-1]}"
    return str(value)


def _splits(manifest: Mapping[str, Any], path: Path) -> list[tuple[str, ...]]:
    rows = []
    for split in (split for split in SPLITS if manifest["splits"].get(split)):
        shards = [shard for shard in shards_of(manifest) if shard.split == split]
        size = sum((path / shard.name).stat().st_size for shard in shards if (path / shard.name).is_file())
        rows.append((split, f"{manifest['splits'][split]:,}", str(len(shards)), f"{size / 1e6:,.3f}"))
    return rows


def _print(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
