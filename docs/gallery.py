"""Make gallery.md and its figures of finished runs: ``python docs/gallery.py RUN RUN ...``.

Each figure is from the first of the runs that has it. The suites 'full', 'alarms', 'quick'
and docs/gallery.yaml on the bundled specimen have all of them together; what none has stays.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import audit
from audit.core.page import escaped
from audit.report.drawing import Drawn, drawn

HERE = Path(__file__).parent
FOLDER = "figures/gallery"
HEAD = """# Every figure

<!-- made by docs/gallery.py of runs of the bundled specimens; change the figure and run it -->

Each is a function of a finished run in `audit.figures`; the report draws it where its probe was
asked, as SVG, PNG and CSV. The people are rendered, and in `specimen-skewed` words were planted on
clothing, ancestry, gender and age on purpose. Quoted words are a model's choices and nobody's
traits.

"""


def names() -> list[str]:
    """Every figure of the registry, by name."""
    offered = {name: getattr(audit.figures, name) for name in audit.figures.__all__}
    return sorted(name for name, draw in offered.items() if draws(draw))


def draws(draw: object) -> bool:
    """Whether this is a function from a run to a figure."""
    return inspect.isfunction(draw) and inspect.signature(draw).return_annotation == "Figure"


def main(paths: Sequence[str]) -> None:
    """Draw what the runs have, and write the page."""
    (HERE / FOLDER).mkdir(parents=True, exist_ok=True)
    missing = names()
    for run in map(audit.open_run, paths):
        for name, figure in found(run, missing):
            (HERE / FOLDER / f"{name}.png").write_bytes(figure.png)
            missing.remove(name)
    print("in none of these runs:", ", ".join(missing) or "none")
    (HERE / "gallery.md").write_text(page(), encoding="utf-8")


def found(run: audit.Run, wanted: Sequence[str]) -> Iterator[tuple[str, Drawn]]:
    """The first of each of the wanted figures that the run's report has, or that need no choice."""
    shown: dict[str, Drawn] = {}
    for figure in audit.rendering.rendered(run).figures.values():
        shown.setdefault(figure.of[0], figure)
    for name in list(wanted):
        if name in shown:
            yield name, shown[name]
        elif _needs_no_choice(draw := getattr(audit.figures, name)):
            yield from _of_all(run, name, draw)


def _needs_no_choice(draw: Callable[..., object]) -> bool:
    _, *which = inspect.signature(draw).parameters.values()
    return all(one.default is not one.empty for one in which)


def _of_all(run: audit.Run, name: str, draw: Callable[..., object]) -> Iterator[tuple[str, Drawn]]:
    try:
        yield name, drawn(draw(run), (name,))
    except audit.InputError:
        return


def page() -> str:
    """The page as Markdown: every figure with what its function says of itself."""
    return HEAD + "\n".join(map(_part, names()))


def _part(name: str) -> str:
    about = inspect.getdoc(getattr(audit.figures, name)) or ""
    what = " ".join(about.split("\n\n")[0].split())
    alt = escaped(what.rstrip("."))
    return f"## {name}\n\n{what}\n\n![{alt}]({FOLDER}/{name}.png)\n"


if __name__ == "__main__":
    main(sys.argv[1:])
