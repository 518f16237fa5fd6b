"""The author's words: ``narrative.yaml`` beside a run, filled from its findings, and checked.

The file is the author's; rendering never writes it. A number is quoted by the id of its finding,
``{{ people-suspicion.selection.thief.gender.estimate }}``, and filled from the run, so that no
number goes stale. What is said of a finding is held against its verdict. ``docs/report.md`` tells
how to write one.

>>> import audit
>>> run = audit.runs_in()[-1]
>>> words = audit.narrative.read(run, "sections: {summary: This model is not biased.}")
>>> [problem.kind for problem in words.problems]
['claim']
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from audit.core.earlier import FACTS, sentence_of_now
from audit.core.errors import InputError, sentence
from audit.core.evidence import linked, place_of_key
from audit.core.files import write_text
from audit.core.page import BLANK, Markdown, code, escaped
from audit.core.registry import suggest
from audit.core.rows import Fields, Row
from audit.core.rundir import Run
from audit.data.yamledit import with_key
from audit.data.yamlfile import Document, Loc, parse_yaml, read_text, validate
from audit.measure.findings import tally_verdicts
from audit.probes.kit.blocks import PLACES, require_place
from audit.probes.kit.cells import table
from audit.report.author import LINES, PLACEHOLDER, Author, starter, titles
from audit.report.passages import (
    FILE,
    QUOTE,
    Passage,
    Problem,
    blanked,
    escaped_inside,
    markup,
    overclaims,
    sentence_spans,
    typed_numbers,
    without_html,
)
from audit.report.quotes import FIELDS, quoted

#: what stands in a row, a column and with a value of one of the author's tables
Cell = Callable[[int, str, object], Markdown]


@dataclass(frozen=True)
class Narrative:
    """The author's words about one run; empty where the run has no ``narrative.yaml``."""

    run: Run
    given: Author
    passages: Sequence[Passage]
    run_line: int = 1

    @cached_property
    def problems(self) -> list[Problem]:
        """All that is wrong with the words, from the top of the file."""
        found = [*self._of_another_run()]
        for passage in self.passages:
            found += [replace(p, at=passage.at) for p in self._of_passage(passage)]
        return sorted(found, key=lambda p: p.line)

    @cached_property
    def placeholder(self) -> int | None:
        """The line on which a text of the draft still stands; None if none does."""
        left = (p for p in self.passages if PLACEHOLDER in p.text)
        return next((p.line_of(p.text.index(PLACEHOLDER), PLACEHOLDER) for p in left), None)

    def words(self, name: str) -> Markdown:
        """The words for a section of the report, set apart from the tool's.

        Raises:
            InputError: the report has no section of this name.
        """
        require_place(name)
        passage = next((p for p in self.passages if p.at == ("sections", name)), None)
        if passage is None or not passage.text.strip():
            return Markdown("")
        claims = [p for p in self._of_passage(passage) if p.kind == "claim"]
        lines = ["**The author’s words**", "", *self._filled(passage).strip().split("\n")]
        for claim in claims:
            lines += ["", f"**Remark of the tool:** {escaped(sentence(claim.told))}"]
        evidence = self._evidence(passage)
        return Markdown("\n".join(f"> {line}".rstrip() for line in [*lines, *evidence]))

    def line(self, name: str) -> Markdown:
        """A key that holds one line, or the blank that waits for it."""
        passage = next((p for p in self.passages if p.at == (name,)), None)
        if passage is None or not passage.text.strip():
            return Markdown(f"**{BLANK}**")
        return Markdown(re.sub(r"\s+", " ", self._filled(passage, plain=True)).strip())

    def harms(self) -> Markdown:
        """The harm map as a table, or the blank one."""
        rows = [row.model_dump() for row in self.given.harm_map]
        scores = ("Severity 1-10", "Likelihood 1-10", "Detection 1-10")
        names = ("Who is affected", "How", "Kind of harm", *scores)
        return _table(names, rows, self._cell("harm_map"))

    def signatures(self) -> Markdown:
        """Who signs; the signature itself is left to the hand."""
        rows = [{**row.model_dump(), "signature": ""} for row in self.given.sign_off]
        blank = [{"role": role} for role in ("Auditor", "Reviewer", "Owner of the system")]
        return _table(("Role", "Name", "Date", "Signature"), rows or blank, self._cell("sign_off"))

    def changes(self) -> list[tuple[Markdown, Markdown]]:
        """The author's rows of the change log: date and what changed."""
        cell = self._cell("changes")
        return [
            (cell(i, "date", row.date), cell(i, "change", row.change))
            for i, row in enumerate(self.given.changes)
        ]

    # ---- filling -------------------------------------------------------------------------------

    def _cell(self, name: str) -> Cell:
        texts = {p.at: p for p in self.passages if p.at[0] == name}

        def cell(row: int, key: str, value: object) -> Markdown:
            passage = texts.get((name, row, key))
            shown = self._filled(passage, plain=True) if passage else escaped(str(value or ""))
            return Markdown(re.sub(r"\s+", " ", shown).strip())

        return cell

    def _filled(self, passage: Passage, plain: bool = False) -> str:
        """A passage with its quotes filled in; HTML becomes words."""
        parts = QUOTE.split(passage.text)  # text, name, seen, text ...
        shown = []
        for i in range(0, len(parts), 3):
            shown.append(escaped_inside(parts[i]) if plain else parts[i])
            if i + 1 < len(parts):
                value = self._value(FACTS.get(parts[i + 1], parts[i + 1]))
                shown.append(escaped(value.told) if value.ok else escaped(f"({value.told})"))
        text = "".join(shown)
        return text if plain else without_html(text)

    def _evidence(self, passage: Passage) -> list[str]:
        """Which findings the numbers are of, by id and the keys of their evidence."""
        ids = [self._finding(name) for name, _ in QUOTE.findall(passage.text)]
        quoted = {f["id"]: f for f in ids if f}
        if not quoted:
            return []
        told = [
            f"`{name}` ({finding['verdict']}; evidence "
            + ", ".join(self._place(key) for key in finding["evidence"])
            + ")"
            for name, finding in quoted.items()
        ]
        return ["", f"*Findings quoted:* {'; '.join(told)}."]

    def _place(self, key: str) -> str:
        """The key of a row, leading to it."""
        words, place = code(key), place_of_key(self.run, key)
        return linked(words, place) if place else words

    @cached_property
    def _by_id(self) -> dict[str, Row]:
        return {finding["id"]: finding for finding in self.run.findings}

    @cached_property
    def facts(self) -> dict[str, str]:
        """What may be quoted of the run as a whole, by name."""
        dataset, counts = self.run.dataset, tally_verdicts(self.run.findings)
        return {
            "run.name": self.run.sealed_name,
            "run.model": self.run.manifest["model"],
            "run.dataset": dataset["name"],
            "run.pictures": f"{dataset['pictures']:,}",
            "run.subjects": f"{dataset['subjects']:,}",
            "run.findings": f"{len(self.run.findings):,}",
            **{f"run.{verdict.replace(' ', '-')}": str(n) for verdict, n in counts.items()},
        }

    def _finding(self, name: str) -> Row | None:
        return self._by_id.get(name) or self._by_id.get(name.rpartition(".")[0])

    def _value(self, name: str) -> _Value:
        """What stands for a name between braces, or why nothing can."""
        if name in self.facts:
            return _Value(self.facts[name])
        finding = self._finding(name)
        if finding is None:
            return _Value(self._unknown(name), ok=False)
        field = "" if name in self._by_id else name.rpartition(".")[2]
        if field not in ("", *FIELDS):
            near = suggest(field, FIELDS)
            told = f"the finding '{finding['id']}' has no '{field}'"
            return _Value(sentence(told, near, f"It has {', '.join(FIELDS)}"), ok=False)
        shown = quoted(finding, field)
        if shown is not None:
            return _Value(shown)
        if self.run.public:
            return _Value("withheld")
        told = f"the finding '{finding['id']}' has no {field or 'estimate'} in this run"
        return _Value(sentence(told, "Quote its .statement, which says why"), ok=False)

    def _unknown(self, name: str) -> str:
        if (near := suggest(name, [*self._by_id, *self.facts])) is None:
            near = suggest(name.rpartition(".")[0], self._by_id)
        told = f"no finding of this run has the id '{name}'"
        return sentence(told, near, None if near else "'findings.json' beside the run has them all")

    # ---- checking ------------------------------------------------------------------------------

    def _of_another_run(self) -> Iterator[Problem]:
        """Words written for another run are stale until their author has read them again."""
        meant, is_ = self.given.run, self.run.manifest["run"]
        if meant and not (_identity(meant) == _identity(is_) or self.run.public):
            told = f"these words were written for the run '{meant}', this is '{is_}'"
            yield Problem(
                self.run_line,
                "error",
                sentence(told, "Read them again beside its numbers, then change 'run:'"),
                ("run",),
            )

    def _of_passage(self, passage: Passage) -> Iterator[Problem]:
        if passage.at[0] == "sections" and passage.at[1] not in PLACES:
            told = f"no section of the report is called '{passage.at[1]}'"
            near = suggest(str(passage.at[1]), PLACES)
            known = sentence(told, near, f"There are {', '.join(PLACES)}")
            yield Problem(passage.first, "error", known)
        yield from self._of_quotes(passage)
        yield from markup(passage)
        yield from self._of_claims(passage)
        yield from typed_numbers(passage)

    def _of_quotes(self, passage: Passage) -> Iterator[Problem]:
        for match in QUOTE.finditer(passage.text):
            name, seen = match.groups()
            line = passage.line_of(match.start(), match[0])
            value = self._value(FACTS.get(name, name))
            if not value.ok:
                yield Problem(line, "error", value.told)
            elif seen and value.told not in (sentence_of_now(seen.strip()), "withheld"):
                told = f"'{name}' was {seen.strip()} when this was written and is {value.told} now"
                yield Problem(
                    line, "error", sentence(told, "Read the sentence again, then change the number")
                )
        for match in re.finditer(r"\{\{|\}\}", QUOTE.sub(blanked, passage.text)):
            told = f"'{match[0]}' without its other half, or with nothing that can be quoted"
            yield Problem(
                passage.line_of(match.start(), match[0]),
                "error",
                sentence(told, "Write {{ finding-id.estimate }}"),
            )

    def _of_claims(self, passage: Passage) -> Iterator[Problem]:
        """Words that say more than any audit can, or than the finding quoted beside them."""
        bare = QUOTE.sub(blanked, passage.text)
        for start, end in sentence_spans(bare):
            names = [n for n, _ in QUOTE.findall(passage.text[start:end])]
            verdicts = {f["verdict"] for f in map(self._finding, names) if f}
            for match, why in overclaims(bare[start:end], verdicts):
                yield Problem(
                    passage.line_of(start + match.start(), match[0]),
                    "claim",
                    f"‘{' '.join(match[0].split())}’ {why}",
                )


@dataclass(frozen=True)
class _Value:
    told: str
    ok: bool = True


# ---- reading -----------------------------------------------------------------------------------


def narrative_of(run: Run) -> Narrative:
    """The author's words about a run; nothing where it has no ``narrative.yaml``.

    Raises:
        InputError: the file can't be read, isn't YAML, or has an unknown key.
    """
    text = text_of(run)
    return Narrative(run, Author(), ()) if text is None else read(run, text)


def text_of(run: Run) -> str | None:
    """What ``narrative.yaml`` beside a run holds, or None where there is none.

    Raises:
        InputError: the file can't be read, or is no text.
    """
    path = run.path / FILE
    return read_text(path) if path.exists() else None


def read(run: Run, text: str) -> Narrative:
    """The author's words about a run from the text of a ``narrative.yaml``; nothing is written.

    Raises:
        InputError: it isn't YAML, or has an unknown key.
    """
    where = str(run.path / FILE)
    data = parse_yaml(text, where)
    given = validate(Author, data, where)
    return Narrative(run, given, _passages(data, text.split("\n")), data.lines.get(("run",), 1))


def checked(run: Run) -> Narrative:
    """The author's words, if nothing in them is an error.

    Raises:
        InputError: as ``narrative_of``, or a quote can't be filled; the first of all, with its
            line, and how many more there are.
    """
    words = narrative_of(run)
    errors = [p for p in words.problems if p.kind == "error"]
    if errors:
        more = f"{len(errors) - 1} more in it; 'clip-audit report RUN --check' lists all"
        raise InputError(str(errors[0]), more if len(errors) > 1 else None)
    return words


def save(run: Run, text: str) -> None:
    """Write ``narrative.yaml`` beside a run; what it says is not checked.

    Raises:
        InputError: the folder can't be written.
    """
    try:
        write_text(run.path / FILE, text)
    except OSError as error:
        told = f"{run.path / FILE} can't be written ({error.strerror or error})"
        raise InputError(told, "What it held before is still there") from error


def save_over(run: Run, text: str, opened: str | None) -> None:
    """Write ``narrative.yaml`` if it is still what its author opened; None for no file.

    Raises:
        InputError: it was changed since, or can't be written; nothing is written then.
    """
    if text_of(run) != opened:
        told = f"{run.path / FILE} was changed by somebody else since it was opened"
        raise InputError(told, "Nothing was written; open it again")
    save(run, text)


def closed(run: Run) -> str | None:
    """Why the words of a run can't be edited beside it; None where they can."""
    if run.public:
        told = "This is a public copy: its words are those of the run that it was made of"
        return sentence(told, "Edit them there, then make the copy again")
    if not os.access(run.path, os.W_OK):
        told = f"The folder {run.path} can't be written"
        return sentence(told, "Copy the run to a folder of your own to write its report")
    return None


def draft(run: Run) -> Path:
    """Write a ``narrative.yaml`` to start from beside a run.

    Raises:
        InputError: there is one already.
    """
    path = run.path / FILE
    if path.exists():
        raise InputError(f"{path} exists already", "Edit it; nothing was written")
    save(run, starter(run))
    return path


def _passages(data: Document, source: Sequence[str]) -> list[Passage]:
    """Every text of the file with the lines on which it stands."""
    starts = sorted({*data.lines.values(), len(source) + 1})
    found = []
    for at, line in data.lines.items():
        text = _at(data, at)
        if isinstance(text, str) and at != ("run",):
            end = next(s for s in starts if s > line)
            found.append(Passage(at, text, line, source[line - 1 : end - 1]))
    return found


def _at(data: Any, at: Loc) -> Any:
    for part in at:
        data = data[part]
    return data


def _identity(run_name: str) -> str:
    """A run's name without the time: the suite and the digest of its tables."""
    return re.sub(r"-\d$", "", run_name.partition("Z-")[2] or run_name)


def _table(names: Sequence[str], rows: Sequence[Fields], cell: Cell) -> Markdown:
    """Rows of the author's; an empty table has a blank to be filled in."""
    if not rows:
        rows = [{"": ""}]
    blank = Markdown(f"**{BLANK}**")
    lines = []
    for i, row in enumerate(rows):
        cells = [cell(i, key, value) for key, value in row.items()]
        cells += [Markdown("")] * (len(names) - len(cells))
        if not any(cells[1:]):
            cells[bool(cells[0])] = blank
        lines.append(dict(zip(names, cells, strict=True)))
    return table(lines)


__all__ = [
    "FIELDS",
    "FILE",
    "LINES",
    "PLACEHOLDER",
    "PLACES",
    "Author",
    "Narrative",
    "Problem",
    "checked",
    "closed",
    "draft",
    "narrative_of",
    "quoted",
    "read",
    "save",
    "save_over",
    "starter",
    "text_of",
    "titles",
    "with_key",
]
