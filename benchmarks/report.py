"""The tables printed and the file written."""

import json
import os
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import jax

from benchmarks.measure import Findings
from benchmarks.peers import PEERS


def slug(device: str) -> str:
    """A device's name as part of a file's: `cpu`, `nvidia-h100-80gb-hbm3`."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def machine() -> dict:
    """The host: its processor, cores (all, and those this process may use), and how busy it was when asked."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


def results_path(folder: Path, name: str) -> Path:
    """Where the project's own measurements on this device are: `<name>-<device>.json`."""
    return folder / f"{name}-{slug(_device())}.json"


def write_rows(folder: Path, name: str, settings: dict, rows: list[dict], indent: int | None = 1) -> Path:
    """Write the project's own measurements, without peers, and return their path; many numbers without an indent."""
    path = results_path(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    header = {"device": _device(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "jax": jax.__version__}
    path.write_text(json.dumps(header | settings | {"rows": rows}, indent=indent) + "\n", encoding="utf-8")
    return path


def write(folder: Path, name: str, device: str, header: dict, findings: Findings) -> Path:
    """Write `<name>-<device>.json` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{slug(device)}.json"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"device": device, "date": date} | header | asdict(findings), indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def tables(findings: Findings) -> str:
    """All findings as text."""
    parts = [
        table(
            ("case", "quantity", "peer", "ratio", "ours [s]", "peer [s]", "ours [MB]", "peer [MB]"),
            [
                (
                    row["case"],
                    row["quantity"],
                    PEERS[row["peer"]].title,
                    f"{row['ratio']:.2f}",
                    f"{row['ours_s']:.4f}",
                    f"{row['peer_s']:.4f}",
                    _megabytes(row["ours_bytes"]),
                    _megabytes(row["peer_bytes"]),
                )
                for row in findings.rows
            ],
        ),
        table(
            ("grid", "quantity", "steps", "ns per cell and step"),
            [
                (row["grid"], row["quantity"], str(row["steps"]), f"{1e9 * row['s_per_cell_step']:.3f}")
                for row in findings.scaling
            ],
        ),
        table(
            ("compiling", "quantity", "cold [s]", "warm [s]"),
            [
                (row["case"], row["quantity"], f"{row['cold_s']:.2f}", f"{row['warm_s']:.2f}")
                for row in findings.compile
            ],
        ),
    ]
    skipped = [
        " ".join(row[key] for key in ("case", "quantity", "peer") if key in row) + f": not measured, {row['why']}"
        for row in findings.not_measured
    ]
    return "\n\n".join([*filter(None, parts), *skipped])


def _device() -> str:
    return "cpu" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind


def _megabytes(size: int | None) -> str:
    return "failed" if size is None else f"{size / 1e6:.1f}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in (head, *rows))
    return "\n".join("  ".join(line).rstrip() for line in lines)
