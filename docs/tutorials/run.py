"""Run the notebooks of this folder and store their outputs: `make notebooks`, or this file with their names.

Each runs in an empty folder and may take LIMIT seconds. Progress bars and warnings are not stored.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
LIMIT = 180  # [s]


def run(file: Path) -> float:
    """Run a notebook and store its outputs; return the seconds that it took."""
    notebook = nbformat.read(file, as_version=4)
    with TemporaryDirectory() as folder:
        # Sockets of files: no port that others could reach.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/kernel")
        place = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, km=kernel, timeout=LIMIT, record_timing=False, resources=place)
        begin = time.perf_counter()
        client.execute()
        seconds = time.perf_counter() - begin
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}  # without the version, which changes
    nbformat.write(notebook, file)
    return seconds


def main() -> None:
    """Run those that the command line names, or all."""
    names = sys.argv[1:] or [file.stem for file in sorted(FOLDER.glob("*.ipynb"))]
    for name in names:
        seconds = run(FOLDER / f"{name}.ipynb")
        print(f"{name}: {seconds:.0f} s", flush=True)
        if seconds > LIMIT:
            sys.exit(f"{name} took longer than {LIMIT} s.")


if __name__ == "__main__":
    main()
