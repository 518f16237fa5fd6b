"""Render REPORT_TEMPLATE.md for a finished run: report.md, report.html and figures/.

The template is Jinja over Markdown. Whatever it prints is text and is escaped, unless a function
here made it Markdown: names of labels, groups and data sets come from people and stay words. A
missing value is an error and no blank.

The run is sealed before, so whatever goes wrong here costs no number: a section, table or figure
that raises is named in its place (``audit.core.damage``), and all others stand.

>>> import audit
>>> audit.rendering.rendered(audit.runs_in()[-1]).text.startswith("# ")
True
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from matplotlib.figure import Figure

from audit.core import evidence
from audit.core.characters import visible
from audit.core.damage import Damage, Damaged, DamagedWarning
from audit.core.errors import InputError, sentence
from audit.core.integrity import FIGURES, unedited, write_renderings
from audit.core.names import slug
from audit.core.page import (
    BLANK,
    EVIDENCE,
    MARKS,
    Markdown,
    as_text,
    code,
    escaped,
    place,
    to_html,
)
from audit.core.resources import TEMPLATE, shipped
from audit.core.rows import Fields, Row
from audit.core.rundir import Run
from audit.core.tables import NO_GROUPS
from audit.engine import gates
from audit.engine.consent import withdrawn_since
from audit.measure.findings import tally_verdicts
from audit.models.encoder import card_of
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section
from audit.probes.kit.cells import pairs_table, printed, stated, tag
from audit.probes.kit.tasks import tasks
from audit.report import figures
from audit.report.chapters import gathered
from audit.report.drawing import Drawn
from audit.report.drawing import drawn as _drawn
from audit.report.exports.public import legible, told
from audit.report.narrative import Narrative, checked
from audit.report.numbering import FIGURE, named, number_of, numbered, with_numbers
from audit.report.page_one import page_one
from audit.report.page_one_page import as_page
from audit.report.page_one_text import BEGINS, ENDS, as_markdown
from audit.report.sections.label_sets import labels_table
from audit.report.sections.registry import SECTIONS, TOPICS, sections_at
from audit.report.sections.verdicts import gate_results


def render(run: Run, template: Path | None = None) -> Path:
    """Render a finished run; everything is drawn before anything is written.

    Args:
        run: the run; nothing but its folder is read.
        template: a template of your own instead of ``REPORT_TEMPLATE.md``.

    Returns:
        The path of ``report.html``, one file that needs no other.

    Raises:
        InputError: the template can't be read, names something unknown or prints a missing value;
            the run was edited, or its folder can't be written.
    """
    run = unedited(run)
    write(rendered(run, template), run.path)
    return run.path / "report.html"


def write(made: Rendered, folder: Path) -> None:
    """Write a rendered report into a run's folder.

    Raises:
        InputError: the folder can't be written.
    """
    pictures = {
        f"{FIGURES}/{name}.{kind}": getattr(figure, kind)
        for name, figure in made.figures.items()
        for kind in ("svg", "png", "csv")
        if getattr(figure, kind)
    }
    report = {"report.md": made.text.encode(), "report.html": made.page.encode()}
    try:
        write_renderings(folder, pictures | report)
    except OSError as error:
        raise InputError(
            f"{folder}: can't write the report there ({error.strerror or error})",
            "Free some space, or copy the run to a folder that can be written",
        ) from error


@dataclass(frozen=True)
class Rendered:
    """A report: the page, whose numbers lead to their rows; its text as Markdown; its figures.

    ``damage``: the parts that could not be rendered, which are named in their places.
    """

    page: str
    text: str
    figures: Mapping[str, Drawn]
    damage: Sequence[Damage] = ()


def rendered(run: Run, template: Path | None = None) -> Rendered:
    """The report of a finished run, with nothing written.

    Warns:
        DamagedWarning: for each part that could not be rendered.

    Raises:
        InputError: as ``render``.
    """
    drawn: dict[str, Drawn] = {}
    damage: list[Damage] = []
    instead: dict[str, str] = {}
    run = legible(run)
    mark = _mark(run)
    filled = fill(run, template or shipped(TEMPLATE), drawn, damage, placed=instead)
    text = mark + _consent(run) + filled
    last, rows = "", ""
    try:
        rows = evidence.appendix(run, text, [figure.rows for figure in drawn.values()])
        last = f"\n## {EVIDENCE}\n\n{_HOW_TO_READ}\n" if rows else ""
    except Exception as error:
        placed = _placed(run, damage, "The part 'Evidence'", error)
        last = f"\n## {EVIDENCE}\n\n{placed}"
    try:
        svg = {name: figure.svg for name, figure in drawn.items()}
        page = to_html(_placed_in(text) + last, svg, _IN_SHORT if mark else "", rows, instead)
    except Exception as error:
        placed = _placed(run, damage, "The page", error)
        page = as_text(f"{placed}\n\n{evidence.unlinked(text)}")
    for one in damage:
        warnings.warn(DamagedWarning(str(one)), stacklevel=2)
    return Rendered(page, evidence.unlinked(text), drawn, damage)


#: the name of page one among what a page has in the place of Markdown
_FIRST: Final = "page one"


def _placed_in(text: str) -> str:
    """A report's Markdown with a place for the first page instead of its text."""
    first = re.compile(f"{re.escape(BEGINS)}.*?{re.escape(ENDS)}", re.DOTALL)
    return first.sub(lambda _: place(_FIRST), text)


_IN_SHORT: Final = "From an edited run: its numbers may not be those that were measured"


def _mark(run: Run) -> str:
    """What stands before the report of an edited run."""
    if not run.manifest.get("edited"):
        return ""
    files = ", ".join(code(str(name)) for name in run.manifest["edited"])
    return f"> **⚠ {_IN_SHORT}.** After it was sealed: {files}.\n\n"


def _consent(run: Run) -> str:
    """What stands before the report of a run whose people have withdrawn their consent since."""
    said = withdrawn_since(run)
    return f"> **⚠ {escaped(said)}**\n\n" if said else ""


def _placed(run: Run, damage: list[Damage], part: str, error: Exception) -> Damaged:
    """Note what can't be rendered; what stands in its place."""
    damage.append(Damage.of(part, error, quoted=not run.public))
    return Damaged(damage[-1])


_HOW_TO_READ: Final = (
    "Rows are counted from 0, as they stand in the run's folder. Rates and gaps are shares here, "
    "of 1 and not of 100; `audit/core/tables.py` says what each column holds."
)


# ---- the template ------------------------------------------------------------------------------


def fill(
    run: Run,
    template: Path,
    drawn: dict[str, Drawn],
    damage: list[Damage] | None = None,
    *,
    placed: dict[str, str] | None = None,
) -> str:
    """The report as Markdown with its links to rows.

    Args:
        run: the run.
        template: the file.
        drawn: figures asked for are added.
        damage: parts that could not be rendered are added.
        placed: HTML that a page has instead of some of the text is added, by name.

    Raises:
        InputError: as ``render``.
    """
    damage = [] if damage is None else damage
    placed = {} if placed is None else placed
    try:
        source = template.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(sentence(f"{template}: can't be read ({error.strerror})")) from error
    try:
        names = context(run, drawn, damage, placed)
    except InputError:
        raise
    except Exception as error:
        return _bare(run, damage, error)
    try:
        text = _filled(source, names, template)
    except Exception as error:
        if isinstance(error, InputError) and template != shipped(TEMPLATE):
            raise  # a mistake in a template of one's own is told and not placed
        damage.clear()
        text = _piece_by_piece(run, source, names, template, damage) or _bare(run, damage, error)
    text, numbers = numbered(gathered(text), BEGINS, ENDS)
    placed |= {name: with_numbers(part, numbers) for name, part in placed.items()}
    return visible(re.sub(r"\n{3,}", "\n\n", text).strip()) + "\n"


def _filled(source: str, names: Fields, template: Path) -> str:
    """The text of a template, or of a piece of it."""
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, finalize=printed, trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.from_string(source).render(names)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(sentence(f"{template}:{error.lineno}: {error.message}")) from error
    except jinja2.UndefinedError as error:
        told = f"{template}: {error.message}"
        raise InputError(told, f"{TEMPLATE} begins with the names there are") from error


def _piece_by_piece(
    run: Run, source: str, names: Fields, template: Path, damage: list[Damage]
) -> str | None:
    """The text section by section, a damaged one named in its place; None without its head."""
    head, *parts = re.split(r"^(?=## )", source, flags=re.MULTILINE)
    try:
        told = [_filled(head, names, template)]
    except Exception:
        return None
    for part in parts:
        try:  # what the head sets, every section may use
            told.append(_filled(f"{head}{_CUT}{part}", names, template).partition(_CUT)[2])
        except Exception as error:
            title = part.partition("\n")[0]
            placed = _placed(run, damage, f"The section '{title.lstrip('# ')}'", error)
            told += [title, placed]
    return "\n\n".join(told)


#: between a template's head and one of its sections; in no text
_CUT: Final = "\n\x00\n"


def _bare(run: Run, damage: list[Damage], error: Exception) -> str:
    """The findings and gates alone, where the template can't be filled at all."""
    told = [f"{finding['verdict']}: {finding['statement']}" for finding in run.findings]
    judged = [f"- {escaped(result.sentence)}" for result in gates.read(run)]
    parts = [
        f"# Bias audit of {escaped(str(run.manifest.get('model', 'a model')))}",
        _placed(run, damage, "The report", error),
        *(["## Gates", "\n".join(judged)] if judged else []),
        "## Findings",
        "\n".join(f"- {escaped(one)}" for one in told) or "*None.*",
    ]
    return "\n\n".join(parts) + "\n"


def context(
    run: Run,
    drawn: dict[str, Drawn],
    damage: list[Damage] | None = None,
    placed: dict[str, str] | None = None,
) -> Row:
    """Every name that a template may use."""
    author, card = checked(run), card_of(run.model, run.name)
    damage = [] if damage is None else damage
    placed = {} if placed is None else placed
    offered: Sequence[Callable[..., object]] = [f for topic in TOPICS for f in topic.OFFERS]
    return {f.__name__: partial(_offered, run, damage, f) for f in offered} | {
        "run": run,
        "manifest": run.manifest,
        "model": run.model,
        "scoring": card.scoring,
        "recorded": card.recorded,
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
        "page_one": partial(_page_one, run, author, drawn, damage, placed),
        "section": partial(_section, run, drawn, damage),
        "named": named,
        "number_of": number_of,
        "figure": partial(_named_figure, run, drawn, damage),
        "withheld": told(run),
        "no_groups": NO_GROUPS,
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


def _offered(run: Run, damage: list[Damage], tell: Callable[..., object], *given: object) -> object:
    """What a topic tells, or what stands in its place."""
    try:
        return tell(run, *given)
    except Exception as error:
        return _placed(run, damage, f"The part '{tell.__name__}'", error)


def _page_one(
    run: Run,
    author: Narrative,
    drawn: dict[str, Drawn],
    damage: list[Damage],
    placed: dict[str, str],
) -> Markdown:
    """The first page as Markdown; what a page has in its place is added to ``placed``."""
    try:
        first = page_one(run, author)
        figure = _figure(run, drawn, damage, figures.leading_facts) if first.rows else Markdown("")
        placed[_FIRST] = as_page(first)
        return as_markdown(first, figure)
    except Exception as error:
        return _placed(run, damage, "The first page", error)


# ---- sections with a module of their own --------------------------------------------------------


def _section(run: Run, drawn: dict[str, Drawn], damage: list[Damage], place: str) -> Markdown:
    """What stands in a section: what would ask for more, then all that was asked."""
    told: list[Markdown] = []
    would: list[str] = []
    for section in sections_at(place):
        blocks = blocks_of(run, section, damage)
        told += [_markdown(run, drawn, damage, block) for block in blocks]
        would += [section.would] if section.would and not blocks else []
    if would:
        also = "Also not" if told else "Not"
        # first, since what follows a fold is folded with it
        told.insert(0, Markdown(f"{also} asked in this run. {' '.join(would)}"))
    return Markdown("\n\n".join(told))


def blocks_of(run: Run, section: Section, damage: list[Damage]) -> Sequence[Block]:
    """The blocks of a section, or what stands in their place."""
    try:
        return list(section.tell(run))
    except Exception as error:
        name = section.tell.__module__.removesuffix(".section").rpartition(".")[2]
        return [_placed(run, damage, f"The section '{name}'", error)]


def _markdown(run: Run, drawn: dict[str, Drawn], damage: list[Damage], block: Block) -> Markdown:
    """A block, and all within it, as Markdown."""
    if isinstance(block, Picture):
        return _figure(run, drawn, damage, block.draw, *block.which)
    if isinstance(block, Part | Folded):
        heading = Markdown(f"{'###' if isinstance(block, Part) else '####'} {escaped(block.title)}")
        inside = (_markdown(run, drawn, damage, one) for one in block.blocks)
        return Markdown("\n\n".join([heading, *inside]))
    return block if isinstance(block, Markdown) else escaped(block)


# ---- figures -----------------------------------------------------------------------------------


_DRAW: Final[Mapping[str, Callable[..., Figure]]] = {
    f.__name__: f
    for f in (
        figures.rates_by_group,
        figures.leading_facts,
        figures.gaps_with_margin,
        figures.templates_spread,
        figures.group_counts,
        figures.reliability_by_group,
        figures.specification_curve,
        figures.label_effects,
        figures.threshold_curves,
    )
}


def _named_figure(
    run: Run, drawn: dict[str, Drawn], damage: list[Damage], name: str, *which: str
) -> Markdown:
    """A figure that a template asks for by its name in ``audit.report.figures``."""
    if name not in _DRAW:
        raise InputError(f"no figure named '{name}'", f"There are {', '.join(_DRAW)}")
    return _figure(run, drawn, damage, _DRAW[name], *which)


def _figure(
    run: Run,
    drawn: dict[str, Drawn],
    damage: list[Damage],
    draw: Callable[..., Figure],
    *which: str,
) -> Markdown:
    """Draw a figure and show it; its title is also its text for the blind."""
    name = getattr(draw, "__name__", "figure")
    try:
        made = draw(run, *which)
        title = made.get_suptitle()
        figure = _drawn(made, (name, *which))
        file = _file(figure, drawn)
        drawn[file] = figure
        shown = f"![{escaped(title)}](figures/{file}.png)"
        return Markdown("\n\n".join([shown, _caption(figure, file)]))
    except InputError as nothing:  # groups too small to compare, say: the reason takes its place
        return Markdown(f"*No figure: {escaped(str(nothing))}*")
    except Exception as error:
        of = f" of {', '.join(map(str, which))}" if which else ""
        return _placed(run, damage, f"The figure '{name}'{of}", error)


def _file(figure: Drawn, drawn: Mapping[str, Drawn]) -> str:
    """The figure's file, told apart from those of other figures whose names are alike."""
    name, *which = figure.of
    plain = slug("-".join(slug(part) for part in (name.replace("_", "-"), *which)))
    names = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
    # letters that differ in case only are one name on some file systems
    taken = {other.casefold(): made.of for other, made in drawn.items()}
    return next(n for n in names if taken.get(n.casefold(), figure.of) == figure.of)


def _caption(figure: Drawn, file: str) -> Markdown:
    """The line below a figure: its number, what numbers in it stand for, its rows, its data."""
    words = ", ".join(f"[{number}] is ‘{one}’" for number, one in figure.words.items())
    told = [
        f"{number_of(FIGURE, file)}.",
        f"In it {escaped(words)}: no font here has their signs." if words else "",
        evidence.caption(figure.rows) if figure.rows else "",
        f"Its data [as CSV](figures/{file}.csv)." if figure.csv else "",
    ]
    return Markdown(f"*{' '.join(filter(None, told))}*")
