"""Execute notebooks and keep what they show: ``python notebooks/outputs.py FOLDER [NOTEBOOK ...]``.

FOLDER holds ``runs`` and ``cache``: what is there is not done again. Figures are stored in few
pixels and tables in one form, so that notebooks stay small and are read without a kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

HERE = Path(__file__).parent
#: of a figure, dots an inch
DPI = 60
#: signs of one output of text
MOST = 4_000
BEFORE = """%matplotlib inline
%config InlineBackend.print_figure_kwargs = {{"bbox_inches": "tight", "dpi": {dpi}}}
import os
os.environ.update(CLIP_AUDIT_RUNS={runs!r}, CLIP_AUDIT_CACHE={cache!r})
del os"""


def store(path: Path, folder: Path) -> None:
    """Execute one notebook, and write it with its outputs."""
    book = nbformat.read(path, as_version=4)
    before = BEFORE.format(dpi=DPI, runs=str(folder / "runs"), cache=str(folder / "cache"))
    book.cells.insert(0, new_code_cell(before))
    NotebookClient(book, timeout=1800, resources={"metadata": {"path": HERE}}).execute()
    del book.cells[0]
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.metadata.pop("execution", None)
            cell.outputs = list(kept(cell.outputs))
    nbformat.write(book, path)


def kept(outputs: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """What a reader looks at: text and figures, in the smallest form that shows them."""
    for output in outputs:
        if output.output_type == "stream" or "data" not in output:
            continue
        data = output["data"]
        small = (k for k in ("text/markdown", "text/html") if k in data and len(data[k]) < MOST)
        kind = "image/png" if "image/png" in data else next(small, "text/plain")
        output["data"] = {kind: data[kind]}
        output["metadata"] = {}
        if "execution_count" in output:
            output["execution_count"] = None
        yield output


def main(folder: Path, names: list[str]) -> None:
    """Store the outputs of these notebooks, or of all."""
    for path in sorted(HERE.glob("*.ipynb")):
        if not names or path.name in names:
            store(path, folder.resolve())
            print(f"{path.name}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
