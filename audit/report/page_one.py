"""The first page of a report: the answer, the facts it rests on, how sure, what to do next.

What stands there is chosen here, once; ``page_one_text`` says it as Markdown, for ``report.md`` and
documents, ``page_one_page`` as a part of ``report.html``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from audit.core.evidence import Address, place_of_key
from audit.core.page import Markdown
from audit.core.rundir import Run
from audit.core.tables import DROP, EXCEEDS, INCONCLUSIVE, NO_GROUPS, PRIMARY, WITHIN
from audit.core.verdicts import Verdict
from audit.data.display import Names
from audit.measure.claims import CATEGORY, ERRORS
from audit.measure.fact_rows import facts
from audit.measure.fact_words import (
    CHOICE,
    prompts_in_words,
    rate,
    relief_in_words,
    variants_in_words,
)
from audit.measure.facts import SEVERITIES, Fact, Relief
from audit.measure.findings import tally_verdicts
from audit.report.narrative import Narrative
from audit.report.page_one_marks import listed, note_of, tags_of
from audit.report.sections.controls import controls_in_short
from audit.report.sections.label_sets import label_warnings

#: most cards, those among them that exceed their margin, and rows of the figure
CARDS: Final = 4
EXCEEDING: Final = 3
ROWS: Final = 7
#: most rows of one question and attribute in the figure
_ALIKE: Final = 3
ACTIONS: Final = 3
_WHOSE: Final = {
    "self-reported": "what people said of themselves",
    "annotator-perceived": "what annotators saw in pictures",
    "assigned": "what somebody else assigned",
    "generator": "settings of a generator, nobody’s identity",
}


@dataclass(frozen=True)
class Card:
    """A fact with the facts of the same question and attribute that stand behind it.

    ``tags``: whether it is primary or exploratory; of a specimen, planted or a leftover.
    """

    fact: Fact
    place: Address | None
    also: Sequence[Fact] = ()
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class Action:
    """What to do next, and what that rests on."""

    text: str
    standing: str


@dataclass(frozen=True)
class PageOne:
    """All that the first page says, in order.

    ``head``: pictures, date, auditor, plan. ``note``: what is known of the model beforehand.
    ``reading``: what words of the cards mean. ``words``: the author's recommendations.
    ``rows``: the facts of the figure, ``title`` its own.
    """

    head: Sequence[str]
    warnings: Sequence[str]
    answer: str
    besides: str
    note: str
    cards: Sequence[Card]
    reading: str
    rows: Sequence[Card]
    title: str
    sure: Sequence[str]
    words: Markdown
    next: Sequence[Action]
    facts: Sequence[Fact] = field(repr=False, default=())


def page_one(run: Run, author: Narrative) -> PageOne:
    """The first page of a run's report."""
    found = facts(run)
    rows, leading = figure_rows(found), chosen(found)
    shown = [f for f in found if f in rows or f in leading]
    return PageOne(
        head=list(_head(run, author)),
        warnings=label_warnings(run),
        answer=_answer(run, found),
        besides=_besides(run, found),
        note=note_of(run),
        cards=[_card(run, f, found) for f in leading],
        reading=prompts_in_words(leading),
        rows=[Card(f, _place(run, f), tags=tags_of(run, f)) for f in rows],
        title=figure_title(run, rows),
        sure=list(_sure(run, found)),
        words=author.words("recommendations"),
        next=list(_next(run, found, shown))[:ACTIONS],
        facts=found,
    )


def _head(run: Run, author: Narrative) -> Iterator[str]:
    dataset, plan = run.dataset, str(run.manifest.get("plan", "unsealed"))
    kind = "photographs" if dataset["card"].get("photographs", True) else "rendered or drawn"
    yield (
        f"{dataset['pictures']:,} pictures of {dataset['subjects']:,} subjects "
        f"({dataset['name']}, {kind})"
    )
    yield f"{datetime.fromisoformat(run.manifest['finished']):%-d %B %Y}"
    yield f"Auditor: {author.given.auditor.strip() or 'not named'}"
    yield f"Plan: {'not sealed' if plan == 'unsealed' else plan}"


def _place(run: Run, fact: Fact) -> Address | None:
    keys = next((f["evidence"] for f in run.findings if f["id"] == fact.id), ())
    return next((place for key in keys if (place := place_of_key(run, key))), None)


# ---- the answer --------------------------------------------------------------------------------


def _answer(run: Run, found: Sequence[Fact]) -> str:
    """The most harmful and largest fact, as a headline."""
    beyond = [f for f in found if f.verdict in (EXCEEDS, Verdict.SEEN)]
    worst = sorted(beyond, key=lambda f: (not f.sides, SEVERITIES.index(f.severity)))
    lead = worst[0] if worst else None
    if lead and lead.sides:
        return f"It {lead.statement[:1].lower()}{lead.statement[1:]}"
    if lead:
        return lead.statement
    if not run.suite["attributes"] and not found:
        return "Nobody was compared with anybody."
    still = any(f.verdict == INCONCLUSIVE for f in found)
    return (
        "No gap surely exceeds its margin, and not all are surely within it."
        if still
        else "All gaps that could be compared lie within their margin."
        if found
        else "Nothing could be compared."
    )


def _besides(run: Run, found: Sequence[Fact]) -> str:
    """How many facts have which verdict, and what became of the primary questions."""
    if not found:
        return "" if run.suite["attributes"] else NO_GROUPS
    many = f"{len(found):,} facts" if len(found) > 1 else "one fact"
    told = f"Of {many}, {_tally([f.verdict.value for f in found])}"
    primary = [f for f in run.findings if f.get("role") == PRIMARY]
    if primary:
        many = (
            f"the {len(primary)} primary questions" if len(primary) > 1 else "the primary question"
        )
        sealed = str(run.manifest.get("plan")).startswith("sealed")
        first = "fixed before the run" if sealed else "not sealed: nothing proves they came first"
        told += f"; of {many} ({first}), {_tally([f['verdict'] for f in primary])}"
    return f"{told}."


def _by_chance(run: Run, found: Sequence[Fact]) -> str:
    """How many of the exploratory facts beyond their margin are so by chance at most."""
    confidence = run.suite.get("confidence") or {}
    some = any(f.verdict == EXCEEDS and f.role != PRIMARY for f in found)
    if not some or confidence.get("screening") != "benjamini-hochberg":
        return ""
    share = 100 * (1 - confidence["level"])
    return f"Of the exploratory facts beyond the margin, at most about {share:.2g} % are chance."


def _tally(verdicts: Sequence[str]) -> str:
    counts = tally_verdicts([{"verdict": v} for v in verdicts])
    said = {
        EXCEEDS: "{n} exceed{s} the margin",
        "seen": "{n} {are} there at all, which is enough",
        INCONCLUSIVE: "{n} {are} inconclusive",
        WITHIN: "{n} lie{s} within the margin",
    }
    told = [
        text.format(n=counts[v], s="s" if counts[v] == 1 else "", are=_are(counts[v]))
        for v, text in said.items()
        if counts[v]
    ]
    return listed(told)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


# ---- which facts -------------------------------------------------------------------------------


def chosen(found: Sequence[Fact]) -> list[Fact]:
    """The facts with a card: what exceeds its margin, of different questions, then what is open.

    The last place is for a primary question without such a gap, or else for what is within.
    """
    beyond = [f for f in found if f.verdict in (EXCEEDS, Verdict.SEEN)]
    cards: list[Fact] = []
    for fact in [f for f in beyond if f.sides] or beyond:
        if len(cards) < EXCEEDING and not any(_alike(fact, other) for other in cards):
            cards.append(fact)
    rest = [f for f in found if f.verdict in (INCONCLUSIVE, WITHIN) and f.sides]
    rest = sorted(rest, key=lambda f: (f.role != PRIMARY, f.verdict != INCONCLUSIVE, not f.missed))
    within = sorted((f for f in rest[1:] if f.verdict == WITHIN), key=_says_little)
    rest = [*rest[:1], *within[:1], *rest[1:]]
    return [*cards, *dict.fromkeys(rest)][:CARDS]


def _alike(one: Fact, other: Fact) -> bool:
    """Whether two facts answer one question by attributes that overlap."""
    shared = set(one.attribute.split(" x ")) & set(other.attribute.split(" x "))
    return one.task == other.task and bool(shared)


def figure_rows(found: Sequence[Fact]) -> list[Fact]:
    """The facts of the figure: those of the cards, more that exceed, open ones, one that is within.

    In the order of the facts; of one question and attribute at most ``_ALIKE``.
    """
    cards = [f for f in chosen(found) if len(f.sides) == 2]
    two = [*cards, *(f for f in found if len(f.sides) == 2 and f not in cards)]
    by = {v: [f for f in two if f.verdict == v] for v in (EXCEEDS, INCONCLUSIVE, WITHIN)}
    last = [*by[INCONCLUSIVE][:2], *sorted(by[WITHIN], key=_says_little)[:1]]
    beyond = by[EXCEEDS]
    few = [f for i, f in enumerate(beyond) if _times(f, beyond[:i]) < _ALIKE]
    shown = [*few[: ROWS - len(last)], *last]
    return [f for f in found if f in shown]


def _times(fact: Fact, others: Sequence[Fact]) -> int:
    return sum(other.theme == fact.theme for other in others)


def _says_little(fact: Fact) -> tuple[bool, bool, bool]:
    """Of what is within its margin last: what never happens, and errors."""
    return fact.role != PRIMARY, not fact.sides[0].events, fact.metric == ERRORS


def figure_title(run: Run, rows: Sequence[Fact]) -> str:
    """What the figure finds."""
    names = Names.of(run.dataset["attributes"])
    beyond = [f for f in rows if f.verdict == EXCEEDS]
    by = dict.fromkeys(part for f in beyond for part in f.attribute.split(" x "))
    named = [names.attribute(part) for part in by][:3]
    told = (
        f"Gaps by {listed(named)} exceed the margin"
        if named
        else "No gap surely exceeds the margin"
    )
    still = next((f for f in rows if f.verdict == INCONCLUSIVE), None)
    return told + (f"; inconclusive: {still.title}" if still else "")


def _card(run: Run, fact: Fact, found: Sequence[Fact]) -> Card:
    same = [
        f for f in found if f.theme == fact.theme and f.verdict is fact.verdict and f is not fact
    ]
    alike = {fact.metric, CHOICE if fact.metric == CATEGORY else fact.metric}
    also = [f for f in same if f.sides and f.severity == fact.severity and f.metric in alike]
    also = also[:2] if fact.verdict is Verdict.EXCEEDS else []
    return Card(fact, _place(run, fact), also, tags_of(run, fact))


# ---- how sure ----------------------------------------------------------------------------------


def _sure(run: Run, found: Sequence[Fact]) -> Iterator[str]:
    check = run.manifest.get("self_check")
    if check and check["asked"] and not check["passed"]:
        yield "The model answers easy questions as by chance: then nothing here means anything."
    if short := controls_in_short(run):
        yield short
    if chance := _by_chance(run, found):
        yield chance
    still = [f for f in found if f.verdict is Verdict.INCONCLUSIVE]
    if still:
        yield (
            f"{len(still)} of {len(found)} facts are inconclusive: these pictures can’t tell, "
            "which is no evidence that there is no gap."
        )
    missed = [(f.variants.mean[0], f) for f in still if f.variants and f.variants.mean]
    if missed:
        largest = sorted(missed, key=lambda both: -both[0])
        told = [f"{fact.title}, {100 * gap:.0f} points" for gap, fact in largest]
        yield (
            f"{len(missed)} of these exceed{'s' if len(missed) == 1 else ''} the margin over all "
            f"prompt variants: look there first ({'; '.join(told[:3])})."
        )
    small = dict.fromkeys(f.not_compared for f in found if f.not_compared)
    if run.public:
        yield _withheld(run, found)
    elif small:
        yield f"Too small to be compared: {'; '.join([*small][:3])}."
    elif run.suite["attributes"]:
        yield "No group was too small to be compared."
    if run.suite["attributes"]:
        sources = dict.fromkeys(
            str(run.dataset["attributes"][a["name"]]["source"]) for a in run.suite["attributes"]
        )
        yield f"Groups are {' or '.join(_WHOSE.get(s, s) for s in sources)}."


def _withheld(run: Run, found: Sequence[Fact]) -> str:
    """What a public copy keeps back on this page."""
    withheld = run.manifest.get("withheld") or {}
    if not (withheld.get("groups") or withheld.get("more_in_tasks")):
        return "No group was small enough to be withheld."
    dark = sum(f.gap is None and f.verdict is not Verdict.INCONCLUSIVE for f in found)
    told = f"; facts about them, of which only the verdict is told: {dark}" if dark else ""
    return f"Small groups are withheld, with others beside them{told}."


# ---- what to do next ---------------------------------------------------------------------------

_SAME: Final = "Exploratory: measured on the same pictures. Confirm it on other people."


def _next(run: Run, found: Sequence[Fact], shown: Sequence[Fact]) -> Iterator[Action]:
    """What is relieved, what isn't, what is open, what is missing: an action for each.

    Of the facts that the page shows, so that nobody looks in vain for what an action is about.
    """
    beyond = [f for f in shown if f.verdict is Verdict.EXCEEDS and f.sides]
    beyond = [f for f in beyond if f.severity in ("high", "medium")] or beyond
    # without a right label its people can't be right: no advice against errors
    edited = [f for f in beyond if f.relief and f.metric != ERRORS]
    relieved = next((f for f in edited if f.relief and f.relief.narrows), None)
    moved = next((f for f in edited if f.relief and not f.relief.narrows), None)
    kept = next((f for f in beyond if f.threshold and f is not relieved), None)
    stays = next((f for f in beyond if not f.relief and not f.threshold and f.variants), None)
    actions = [_relieve(relieved, beyond)] if relieved else []
    actions += [_no_edit(moved.relief)] if moved and moved.relief and not relieved else []
    actions += [_keep_less(kept)] if kept else []
    actions += [_reword(stays)] if stays else []
    still = [f for f in shown if f.verdict is Verdict.INCONCLUSIVE and f.sides]
    enough = next((f for f in still if f.needed), None)
    actions += [_ask_more(enough)] if enough else []
    small = next((f.not_compared for f in found if f.not_compared), "")
    if small:
        told = f"Add pictures of people {small}: too few were there to compare them."
        actions.append(Action(told, "Nothing is known of them so far."))
    if run.manifest.get("plan", "unsealed") == "unsealed":
        told = "Name what matters as ‘primary’ in the suite and seal the plan before the next run."
        actions.append(Action(told, "So that nobody can say it was chosen afterwards."))
    yield from actions


def _relieve(fact: Fact, beyond: Sequence[Fact]) -> Action:
    """Another label set: the edit that relieves a fact, and those that relieve others like it."""
    relief = fact.relief
    assert relief is not None
    same = [f.relief for f in beyond if f.theme == fact.theme and f.relief]
    same = [r for r in same if r.edit == DROP and r.narrows]
    others = dict.fromkeys(f"‘{r.dropped}’" for r in same if r.dropped != relief.dropped)
    likewise = f" Likewise without {listed([*others])}, each alone." if others else ""
    edit, does = relief_in_words(relief).split(", ", 1)
    return Action(
        f"Ask {edit[:1].lower()}{edit[1:]}: {does}{likewise}{_besides_it(fact, beyond)}", _SAME
    )


def _besides_it(fact: Fact, beyond: Sequence[Fact]) -> str:
    """Gaps by other attributes that the same edit doesn't surely narrow."""
    assert fact.relief is not None
    edit = (fact.relief.edit, fact.relief.dropped, fact.relief.added, fact.relief.counted)
    same = [f.relief for f in beyond if f.task == fact.task and f.relief and not f.relief.narrows]
    told = [
        f"by {r.by} ({100 * r.gaps[0]:.0f} to {100 * r.gaps[1]:.0f} points)"
        for r in same
        if r.gaps and (r.edit, r.dropped, r.added, r.counted) == edit
    ]
    return f" It doesn’t surely narrow that {listed([*dict.fromkeys(told)])}." if told else ""


def _no_edit(relief: Relief) -> Action:
    """That what spares one group leaves the gap: no advice to drop a label."""
    return Action(
        "Don’t count on dropping a label: no edit that lowers this rate surely narrows the gap. "
        + relief_in_words(relief),
        _SAME,
    )


def _keep_less(fact: Fact) -> Action:
    """A threshold in place of the nearest label: what is kept then, and how much of the rest."""
    found = fact.threshold
    assert found is not None
    falls = f"{100 * found.before:.0f} % to {100 * found.after:.0f} %"
    many = f"; a picture keeps {found.labels:.1f} labels then" if found.labels is not None else ""
    return Action(
        f"Keep labels at or above {100 * found.threshold:g} % instead of the nearest: "
        f"{found.counted} falls from {falls} for {fact.sides[0].people}, and no two groups by "
        f"{fact.by} differ by the margin{many}.",
        _SAME,
    )


def _reword(fact: Fact) -> Action:
    """Another prompt, or none, by whether any helps."""
    variants, side = fact.variants, fact.sides[0]
    assert variants is not None
    what = f"{fact.asked[:1].lower()}{fact.asked[1:]}"
    if variants.holds == variants.of:
        told = variants_in_words(variants)
        asked = fact.task.replace("-", " ").replace("_", " ")
        return Action(
            f"Don’t use the model’s answers to ‘{asked}’ ({what}, by {fact.by}): "
            f"{rate(side)} of {side.people}, {rate(fact.sides[1])} of {fact.sides[1].people}.",
            f"{told[:-1].replace('at least', 'gaps of at least')}: the prompt doesn’t decide it.",
        )
    if variants.reverses:
        return Action(
            f"Rely on no single wording ({what}, by {fact.by}): it changes which group gets it "
            "more often.",
            variants_in_words(variants),
        )
    left = variants.of - variants.holds
    return Action(
        f"Try another prompt ({what}, {side.people}): in {left} of {variants.of} prompt variants "
        "the gap doesn’t surely exceed its margin.",
        _SAME,
    )


def _ask_more(fact: Fact) -> Action:
    fewest = min(fact.sides, key=lambda side: side.subjects)
    now = f"now {fewest.subjects:,}, the fewer of the two, {fewest.people}"
    if len({side.subjects for side in fact.sides}) == 1:
        now = f"now {fewest.subjects:,}"
    return Action(
        f"Look at about {fact.needed:,} people a group ({now}) before anything is said of "
        f"{fact.title}.",
        "An extrapolation: so many would decide it if the gap stays as it is.",
    )
