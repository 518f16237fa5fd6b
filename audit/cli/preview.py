"""What the terminal shows of a suite before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audit.core.errors import InputError
from audit.core.tables import NO_GROUPS
from audit.core.terminal import numbers, say

if TYPE_CHECKING:
    import pandas as pd

    from audit.engine.suite import Suite


#: columns of words in tables of numbers
LEFT = ("attribute", "group", "compared", "question")


def suite_in_short(suite: Suite, place: str) -> None:
    """What would be asked: the model, the pictures, the questions, the gates."""
    data = suite.pictures
    subjects = data.table["cluster_id"].nunique()
    tasks = ", ".join(probe.task for probe in suite.asked)
    lines = [
        f"model: {suite.model} ({place})",
        f"data:  {data.name}, {len(data):,} pictures of {subjects:,} subjects",
        f"asks:  {tasks}",
        *(
            f"primary: {claim}" + (f" ({claim.why})" if claim.why else "")
            for claim in suite.primary
        ),
        *(f"gate:  {gate}" for gate in suite.gates),
    ]
    for line in lines:
        say(line)
    say()


def data_remarks(suite: Suite) -> None:
    """What is seen of the pictures, and what in the data is probably not meant."""
    from audit.data.pictures import look, of_copies, of_faults

    data = suite.pictures
    sight = look(data)
    lost = len(sight.faults) / len(data)
    first = next(iter(sight.faults.values()), "")
    by_group = [remark.text for remark in of_faults(suite.groups, sight.faults)]
    if lost > suite.max_quarantined:
        told = f"data set '{data.name}': {len(sight.faults):,} of {len(data):,} pictures can't be "
        told += f"used, more than the {suite.max_quarantined:.0%} that the suite allows"
        raise InputError(told, f"The first: {first}", *by_group)
    remarks = [r.text for r in (*suite.remarks, *of_copies(data, suite.groups, sight.digests))]
    if sight.faults:
        told = f"{len(sight.faults):,} pictures would be set aside; the first: {first}"
        remarks = [told, *by_group, *remarks]
    how = "file" if sight.of_files else "picture"
    if not data.card.pictures:
        say("no pictures, as the card says: answers are recorded")
    else:
        say(
            f"{len(data):,} files looked for, {sight.opened:,} opened; duplicates searched by {how}"
        )
    if sight.unsearched:
        told = f"{sight.unsearched:,} pictures are parts of other files"
        say(f"{told}: duplicates among these are searched by 'run' only")
    if remarks:
        say("look at the data again, nothing is changed:", style="bold yellow")
        for remark in remarks:
            say(f"  - {remark}")
    if data.withdrawn and (unmatched := data.withdrawn.unmatched_in_words()):
        say(unmatched, style="bold yellow")
    say()


def groups_in_numbers(suite: Suite) -> None:
    """How many pictures every group has, and which gaps between groups could be found."""
    if not suite.groups:
        say(f"{NO_GROUPS} Name 'attributes' in the suite once a column says who is shown.")
        return
    numbers("Pictures of every group", suite.cells(), LEFT, once=True)
    numbers("The smallest gap that would be found, in points", smallest_gaps(suite), LEFT)
    how_to_read(suite)


def smallest_gaps(suite: Suite) -> pd.DataFrame:
    """The table of detectable gaps: short headings, points, ranges where subjects repeat."""
    power = suite.power()
    rates = [c.removeprefix("base ") for c in map(str, power.columns) if c.startswith("base ")]
    shorter = {"smallest": "fewest", "comparisons": "pairs"}
    shown = (
        power[["attribute", "groups", *shorter]]
        .rename(columns=shorter)
        .assign(
            **{r: list(map(_range, power[f"base {r}"], power[f"worst {r}"])) for r in rates},
            needed=[f"{v:,.0f}" if v == v else "-" for v in power["needed"]],
            **{"least p": [_least(p) for p in power["smallest_p"]]},
        )
    )
    few = power["groups"] < 2
    return shown.mask(few, shown.assign(**dict.fromkeys(rates, "-")))


def _range(best: float, worst: float) -> str:
    """Points from the best case to the worst; 'none' where no gap at all would be found."""
    ends = [f"{100 * v:.1f}" if v == v else "none" for v in (best, worst)]
    return "-".join(dict.fromkeys(ends))


def _least(p: float) -> str:
    if p != p:
        return "-"
    return "<1e-6" if p < 1e-6 else f"{p:.2g}"


def subjects_needed(suite: Suite) -> pd.DataFrame:
    """The subjects that each primary question needs, beside those that it has."""
    needs = suite.needs()
    shown = {"exceeds": "to exceed", "within": "to be within", "comparisons": "pairs"}
    counts = {
        name: [f"{v:,.0f}" if v == v else "none suffices" for v in needs[name]]
        for name in ("exceeds", "within")
    }
    needs = needs.assign(**counts).rename(columns=shown | {"too_few": "too few"})
    return needs if needs["too few"].any() else needs.drop(columns="too few")


def how_to_read(suite: Suite) -> None:
    """What the headings of the table of detectable gaps mean."""
    from audit.measure.metrics import DEFAULT_FAMILY

    c = suite.confidence
    margin = 100 * c.margin(DEFAULT_FAMILY).difference
    means = {
        "groups": f"those of {c.min_group} subjects or more; 'fewest': pictures in the smallest",
        "pairs": f"of groups; the level of {c.level:.0%} holds for all pairs of a question at once",
        "5%": (
            "for an event seen in 5% of pictures: the gap between the two smallest groups that is "
            f"found with {c.power:.0%} power; none: even the largest would mostly be missed"
        ),
        "needed": (
            "pictures a group to show that equal rates of 10% differ by less than "
            f"{margin:g} points"
        ),
        "least p": (
            "the smallest adjusted p-value that could come out; "
            f"above {1 - c.level:.2g} nothing could ever be shown"
        ),
    }
    if suite.repeats:
        means["ranges"] = (
            "subjects repeat, so from pictures that are independent to each subject counting once "
            "('needed' then counts subjects)"
        )
    for heading, meaning in means.items():
        say(f"  {heading:<8} {meaning}")


def fonts_missing(suite: Suite) -> None:
    """Which labels and groups figures can only number, since no font has their signs."""
    sets = [one for probe in suite.asked for one in probe.label_sets()]
    cells = suite.cells()
    words = [label.text for one in sets for label in one.labels]
    words += [*cells["attribute"], *cells["group"]]
    if foreign := [word for word in dict.fromkeys(words) if not word.isascii()]:
        from audit.probes.kit.glyphs import undrawn

        if dark := undrawn(foreign):
            told = (
                f"no font on this machine has the signs of {len(dark)} names, such as ‘{dark[0]}’"
            )
            say(f"{told}: figures number them. Installed, a Noto font of the script draws them.")


def plan_status(suite: Suite, out: Path, seal: bool) -> None:
    """Seal the plan if asked to, and say how it stands."""
    from datetime import UTC, datetime

    from audit.engine import plan

    sealed = plan.seal(suite, out) if seal else None
    told = plan.status(suite, out, datetime.now(UTC))
    hint = " '--seal' dates it before it is run." if told.startswith("unsealed") else ""
    say()
    say(f"The plan is {told}.{hint}")
    if sealed:
        kept = "" if sealed.first else " was there already and keeps its date"
        say(f"plan: {sealed.path}{kept}")
        say(f"Its date is proved to others by committing it: git add --force {sealed.path}")
