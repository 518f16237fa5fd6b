"""Render REPORT_TEMPLATE.md for a finished run: report.md, report.html and figures/.

The template is Jinja over Markdown. Whatever it prints is text and is escaped, unless a function
here made it Markdown: names of labels, groups and data sets come from people and stay words. A
missing value is an error and no blank.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import jinja2
import matplotlib as mpl
from jinja2.sandbox import SandboxedEnvironment
from matplotlib.figure import Figure

from audit import evidence, figures
from audit.errors import InputError, sentence
from audit.exports.public import legible, told
from audit.findings import tally_verdicts
from audit.narrative import checked
from audit.page import BLANK, EVIDENCE, MARKS, Markdown, code, escaped, to_html
from audit.resources import shipped
from audit.rundir import Run, slug, write_text
from audit.sections import SECTIONS, TOPICS, sections_at
from audit.sections.blocks import Block, Folded, Part, Picture
from audit.sections.cells import pairs_table, printed, stated, tag
from audit.sections.label_sets import labels_table
from audit.sections.tasks import tasks
from audit.sections.verdicts import gate_results

TEMPLATE: Final = "REPORT_TEMPLATE.md"


def render(run: Run, template: Path | None = None) -> Path:
    """Render a finished run; everything is drawn before anything is written.

    Args:
        run: the run; nothing but its folder is read.
        template: a template of your own instead of ``REPORT_TEMPLATE.md``.

    Returns:
        The path of ``report.html``, one file that needs no other.

    Raises:
        InputError: the template can't be read, names something unknown or prints a missing value.
    """
    made = rendered(run, template)
    _write_figures(run.path / "figures", made.figures)
    write_text(run.path / "report.md", made.text)
    write_text(run.path / "report.html", made.page)
    return run.path / "report.html"


@dataclass(frozen=True)
class Rendered:
    """A report: the page, whose numbers lead to their rows; its text as Markdown; its figures."""

    page: str
    text: str
    figures: Mapping[str, Drawn]


def rendered(run: Run, template: Path | None = None) -> Rendered:
    """The report of a finished run, with nothing written.

    Raises:
        InputError: as ``render``.
    """
    drawn: dict[str, Drawn] = {}
    run = legible(run)
    text = fill(run, template or shipped(TEMPLATE), drawn)
    whole = "\n".join([text, *_evidence(run, text, drawn)])
    page = to_html(whole, {name: figure.svg for name, figure in drawn.items()})
    return Rendered(page, evidence.unlinked(text), drawn)


def _evidence(run: Run, text: str, drawn: Mapping[str, Drawn]) -> list[str]:
    """The page's last part: every row that it leads to; nothing if it leads to none."""
    rows = evidence.appendix(run, text, [figure.rows for figure in drawn.values()])
    return [f"## {EVIDENCE}\n", f"{_HOW_TO_READ}\n", rows] if rows else []


_HOW_TO_READ: Final = (
    "Rows are counted from 0, as they stand in the run's folder. Rates and gaps are shares here, "
    "of 1 and not of 100; `audit/tables.py` says what each column holds."
)


# ---- the template ------------------------------------------------------------------------------


def fill(run: Run, template: Path, drawn: dict[str, Drawn]) -> str:
    """The report as Markdown with its links to rows; figures asked for are added to ``drawn``.

    Raises:
        InputError: as ``render``.
    """
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, finalize=printed, trim_blocks=True, lstrip_blocks=True
    )
    try:
        source = template.read_text(encoding="utf-8")
        text = environment.from_string(source).render(context(run, drawn))
    except OSError as error:
        raise InputError(sentence(f"{template}: can't be read ({error.strerror})")) from error
    except jinja2.TemplateSyntaxError as error:
        raise InputError(sentence(f"{template}:{error.lineno}: {error.message}")) from error
    except jinja2.UndefinedError as error:
        told = f"{template}: {error.message}"
        raise InputError(sentence(told, f"{TEMPLATE} begins with the names there are")) from error
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def context(run: Run, drawn: dict[str, Drawn]) -> dict[str, Any]:
    """Every name that a template may use."""
    author = checked(run)
    offered: Sequence[Callable[..., Any]] = [f for topic in TOPICS for f in topic.OFFERS]
    return {f.__name__: partial(f, run) for f in offered} | {
        "run": run,
        "manifest": run.manifest,
        "model": run.model,
        "suite": run.suite,
        "dataset": run.dataset,
        "card": run.dataset["card"],
        "tasks": tasks(run),
        "kinds": sorted({question["kind"] for question in run.questions}),
        "told_apart": list(SECTIONS),
        "by_verdict": {v: [f for f in run.findings if f["verdict"] == v] for v in MARKS},
        "tally": tally_verdicts(run.findings),
        "version": version("clip-audit"),
        "plan": run.manifest.get("plan", "unsealed"),
        "gate_results": gate_results(run),
        "section": partial(_section, run, drawn),
        "figure": partial(_named_figure, run, drawn),
        "withheld": told(run),
        "words": author.words,
        "line": author.line,
        "harm_map": author.harms,
        "signatures": author.signatures,
        "changes": author.changes,
        "labels_table": labels_table,
        "versions_table": partial(pairs_table, "Package", "Version"),
        "tag": tag,
        "code": code,
        "stated": stated,
        "blank": Markdown(f"**{BLANK}**"),
    }


# ---- sections with a module of their own --------------------------------------------------------


def _section(run: Run, drawn: dict[str, Drawn], place: int) -> Markdown:
    """What stands under a number: all that was asked, then what would ask for the rest."""
    told: list[Markdown] = []
    would: list[str] = []
    for section in sections_at(place):
        blocks = section.tell(run)
        told += [_markdown(run, drawn, block) for block in blocks]
        would += [section.would] if section.would and not blocks else []
    if would:
        also = "Also not" if told else "Not"
        told.append(Markdown(f"{also} asked in this run. {' '.join(would)}"))
    return Markdown("\n\n".join(told))


def _markdown(run: Run, drawn: dict[str, Drawn], block: Block) -> Markdown:
    """A block, and all within it, as Markdown."""
    if isinstance(block, Picture):
        return _figure(run, drawn, block.draw, *block.which)
    if isinstance(block, Part | Folded):
        heading = Markdown(f"{'###' if isinstance(block, Part) else '####'} {escaped(block.title)}")
        inside = (_markdown(run, drawn, one) for one in block.blocks)
        return Markdown("\n\n".join([heading, *inside]))
    return block if isinstance(block, Markdown) else escaped(block)


# ---- figures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A figure as files, and the rows it was drawn from, as ``audit.evidence.named`` tells them."""

    svg: bytes
    png: bytes
    rows: str = ""


_DRAW: Final[Mapping[str, Callable[..., Figure]]] = {
    f.__name__: f
    for f in (
        figures.rates_by_group,
        figures.gaps_with_margin,
        figures.templates_spread,
        figures.group_counts,
        figures.reliability_by_group,
        figures.specification_curve,
        figures.label_effects,
        figures.threshold_curves,
    )
}


def _named_figure(run: Run, drawn: dict[str, Drawn], name: str, *which: str) -> Markdown:
    """A figure that a template asks for by its name in ``audit.figures``."""
    if name not in _DRAW:
        raise InputError(sentence(f"no figure named '{name}'", f"There are {', '.join(_DRAW)}"))
    return _figure(run, drawn, _DRAW[name], *which)


def _figure(
    run: Run, drawn: dict[str, Drawn], draw: Callable[..., Figure], *which: str
) -> Markdown:
    """Draw a figure and show it; its title is also its text for the blind."""
    try:
        made = draw(run, *which)
    except InputError as nothing:  # groups too small to compare, say: the reason takes its place
        return Markdown(f"*No figure: {escaped(str(nothing))}*")
    made.draw_without_rendering()
    made.set_layout_engine(None)  # laid out once, not again for each kind of file
    file = "-".join(slug(part) for part in (draw.__name__.replace("_", "-"), *which))
    rows = str(made.get_label())
    drawn[file] = Drawn(_saved(made, "svg"), _saved(made, "png"), rows)
    shown = f"![{escaped(made.get_suptitle())}](figures/{file}.png)"
    return Markdown(f"{shown}\n\n{evidence.caption(rows)}" if rows else shown)


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # no date and no random names inside, so that the same run gives the same bytes
    with mpl.rc_context({"svg.hashsalt": "clip-audit"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=160)
    return buffer.getvalue()


def _write_figures(folder: Path, drawn: Mapping[str, Drawn]) -> None:
    """Write by way of temporary names; drop what an earlier rendering left."""
    folder.mkdir(exist_ok=True)
    files = {f"{n}.{kind}": getattr(d, kind) for n, d in drawn.items() for kind in ("svg", "png")}
    for name, content in files.items():
        aside = folder / f".{name}.{os.getpid()}"
        aside.write_bytes(content)
        aside.replace(folder / name)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
