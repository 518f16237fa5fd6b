"""docs/calibration.md and its figures, from the file of results alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audit.stats.intervals import wilson

from .families import BOUNDARY, NONE, REST
from .grid import Result, key, read, subset
from .power import SMALL
from .worlds import APART, INFORMATIVE, ZIPF

FLOOR: Final = 0.93
ALLOWED: Final = 0.05
_METHODS: Final = {
    "covered": "clip-audit",
    "wilson": "Wilson, rows taken as independent",
    "rows": "percentile bootstrap over rows",
    "clusters": "percentile bootstrap over subjects",
    "student": "clustered errors with t",
    "korn": "Korn and Graubard",
}
_PEERS: Final = {
    "ours": "clip-audit",
    "known": "at the known design effect",
    "korn": "Korn and Graubard",
    "student": "clustered errors with t",
    "fairlearn": "fairlearn's bootstrap, rows",
}
_UNEQUAL: Final = {
    "ours": "clip-audit",
    "korn": "Korn and Graubard",
    "bootstrap": "percentile bootstrap over subjects",
    "cr2": "CR2, Satterthwaite's t",
    "cr3": "CR3, Satterthwaite's t",
    "equal": "each subject counts once",
    "shrunken": "weights by the estimated ICC",
    "capped": "clip-audit, at most four pictures a subject",
}
_BEFORE: Final = "clip-audit before"
_ERRORS: Final = {
    "wrong_large": "exceeds margin, wrongly",
    "wrong_small": "within margin, wrongly",
    "missed": "a simultaneous bound misses",
    "wrong_q": "q ≤ 0.05 without a gap",
}
_RATIO: Final = {"ratio_missed": "that of a ratio misses"}
#: events expected in worlds whose widths are compared
_OFTEN: Final = 5
_EVENTS: Final = (0, 1, 2, 5, 10, 20, 50, 200, 1000, np.inf)
_SUBJECTS: Final = (0, 2, 5, 10, 20, 50, 200, 1000, np.inf)
_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#D55E00", "#7A7A7A", "#222222"


def write(results: Path, docs: Path, before: Path | None = None) -> None:
    """Write calibration.md and figures/calibration-*.png into the folder ``docs``.

    ``before``: results of the same worlds by an earlier version of the tool, shown beside.
    """
    rows = table(read(results))
    if before is not None:
        rows = _beside(rows, read(before))
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    for name, draw in (("coverage", coverage_figure), ("errors", error_figure)):
        figure = draw(rows)
        figure.savefig(docs / "figures" / f"calibration-{name}.png", dpi=110)
    text = "\n\n".join(section for section in sections(rows) if section)
    (docs / "calibration.md").write_text(text + "\n", encoding="utf-8")


def table(results: Sequence[Result]) -> pd.DataFrame:
    """A row a cell: what it was and what was found, small families first."""
    rows = [
        {**r["cell"], **r["result"], "seconds": r["seconds"], "key": _asked(r["cell"])}
        for r in results
    ]
    frame = pd.DataFrame(rows)
    order = [c for c in ("kind", "world", "comparisons", "shared", "size", "icc") if c in frame]
    shown = frame.assign(size=frame["size"].map(lambda s: str(s).zfill(2)))
    return frame.loc[shown.sort_values([*order, "pictures", "rate"], kind="stable").index]


def _beside(rows: pd.DataFrame, before: Sequence[Result]) -> pd.DataFrame:
    """With the earlier version's shares of the same worlds, as columns ``before_...``."""
    earlier = {_asked(r["cell"]): r["result"] for r in before}
    names = {
        "covered": "covered",
        "width": "width",
        "missed": "missed",
        "ratio_missed": "ratio_missed",
        "within": "within",
        **{f"ours_{n}": f"ours_{n}" for n in ("covered", "width", "largest", "found", "false")},
    }
    found = [earlier.get(k, {}) for k in rows["key"]]
    return rows.assign(**{f"before_{n}": [r.get(n, np.nan) for r in found] for n in names}).astype(
        {f"before_{n}": float for n in names}
    )


def _asked(cell: dict[str, Any]) -> str:
    """What tells a world from others; whether fairlearn was asked too does not."""
    return json.dumps({k: v for k, v in cell.items() if k != "bootstrapped"}, sort_keys=True)


def sections(rows: pd.DataFrame) -> Iterable[str]:
    """The document, part by part."""
    kinds = {name: rows[rows["kind"] == name].dropna(axis=1, how="all") for name in _ORDER}
    yield _opening(rows)
    yield _short(kinds)
    if len(kinds["rate"]):
        yield _rates(kinds["rate"])
    if len(kinds["unequal"]):
        yield _unequal(kinds["unequal"])
    if len(kinds["pair"]):
        yield _pairs(kinds["pair"])
    if len(kinds["family"]):
        yield _families(kinds["family"])
    if len(kinds["within"]):
        yield _withins(kinds["within"])
    if len(kinds["peer"]):
        yield _peers(kinds["peer"])
    if len(kinds["power"]):
        yield _powers(kinds["power"])
    yield _limits(kinds["rate"])


_ORDER: Final = ("rate", "unequal", "pair", "family", "within", "peer", "power")


def _opening(rows: pd.DataFrame) -> str:
    minutes = rows["seconds"].sum() / 60
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    versions += f".{_earlier(rows)}"
    return f"""# How often is the tool wrong?

An auditor who prints intervals and verdicts should know how often they are wrong. It can't be seen
on real pictures, where nobody knows the true rates. So this page simulates audits in worlds where
they are known, and counts.

    python -m benchmarks.calibration run --subset --processes 2 --out results.jsonl
    python -m benchmarks.calibration report --out results.jsonl

Without `--subset` the whole grid is simulated; it can be stopped and started again. Every number
and figure below is written by the second command from the results of the first:
{len(rows):,} worlds{_missing(rows)}, {minutes:,.0f} minutes of one core; {versions}

Worlds have groups of {_range(rows, "pictures")} pictures, rates of
{100 * rows["rate"].min():g} to {100 * rows["rate"].max():g} %,
and subjects of 1 to 12 pictures each. The pictures of a subject agree beyond chance by an
*intra-cluster correlation* (ICC): 0 if they are as good as pictures of different people, 1 if they
are copies of each other. Each world has seeds of its own."""


def _missing(rows: pd.DataFrame) -> str:
    """How many worlds of the subset are not among the results."""
    left = {_asked(json.loads(key(c))) for c in subset()} - set(rows["key"])
    return f" ({len(left)} of the subset are not among them)" if left else ""


def _earlier(rows: pd.DataFrame) -> str:
    if not any(str(name).startswith("before_") for name in rows):
        return ""
    return (
        "\nColumns named *before* show the same worlds by an earlier version of the tool "
        "(`--before`), where it was asked."
    )


def _short(kinds: dict[str, pd.DataFrame]) -> str:
    lines = ["## In short", ""]
    rate, family = kinds["rate"], kinds["family"]
    if len(rate):
        known = _known(rate)
        low = int((known["covered"] < FLOOR).sum())
        lines.append(
            f"- 95 % intervals for a rate cover it in {_percent(known['covered'].min())} to "
            f"{_percent(known['covered'].max())} of audits, by world; **{low} of {len(known)}** "
            "worlds lie below 93 %."
        )
    for name, meaning in _ERRORS.items() if len(family) else ():
        asked = family[family[name].notna()]
        bad = int((asked[name] > asked["audits"].map(_most)).sum())
        lines.append(
            f"- *{meaning}*: at most {_percent(asked[name].max())} of the audits of a world; "
            f"**{bad} of {len(asked)}** worlds exceed 5 % by more than two standard errors of "
            "the simulation."
        )
    return "\n".join(lines)


def _rates(rate: pd.DataFrame) -> str:
    known = _known(rate)
    refused = rate[rate["judged"] == 0]
    few = known[known["covered"] < FLOOR]
    summary: list[dict[str, object]] = [
        {
            "pictures a subject": size,
            "worlds": len(part),
            **{f"{m}: lowest": _percent(_lowest(part, k)) for k, m in _METHODS.items()},
            "width over that at the known design effect: median (highest)": _widths(part),
            "below 93 %": int((part["covered"] < FLOOR).sum()),
        }
        for size, part in sorted(
            _known(rate, informative=True).groupby("size"), key=lambda p: str(p[0]).zfill(2)
        )
    ]
    text = f"""## Does a 95 % interval contain the true rate?

{int(rate["audits"].median()):,} audits a world; a world that comes out below 94 % is asked anew
with 20,000, which count instead. {len(refused)} of {len(rate)} worlds have a single subject, from
whom nothing can be learnt about others: there the tool gives no interval. In the other worlds it
gives one in {_percent(rate.loc[rate["judged"] > 0, "given"].min())} of audits at least.

{markdown(summary)}

The other methods are what is commonly printed. *Wilson* is right for independent pictures, and
wrong as soon as subjects repeat. *The percentile bootstrap* fails where events are few, whatever is
resampled: a group without any event gives an interval from 0 to 0. *Clustered errors with t*
(Miller 2024, as inspect_ai prints them) and *Korn and Graubard's* effective sizes (1998, as in R's
survey package) read the spread off the subjects seen, and are too narrow where few of them had an
event.
What caution costs is the ratio of widths: to that of an interval which is told the intra-cluster
correlation of its world. It is taken over worlds with at least 20 subjects and 5 expected events.

![Lowest coverage by expected events and subjects](figures/calibration-coverage.png)

*Lowest coverage of a 95 % interval among the worlds of each field, in per cent. Below 93 is marked
in orange.*"""
    return text + _zipf(known) + _listed("Worlds below 93 %:", few)


def _unequal(worlds: pd.DataFrame) -> str:
    sizes = worlds["size"] + ", " + worlds["pictures"].map("{:,.0f}".format)
    parts = list(worlds.groupby(sizes))
    often = worlds["pictures"] * worlds["rate"] >= _OFTEN
    rows = [
        {"method": title, "lowest": _percent(worlds[f"{name}_covered"].min())}
        | {f"{at}: lowest": _percent(part[f"{name}_covered"].min()) for at, part in parts}
        | {"width": _span(worlds[f"{name}_width"] / worlds["known_width"], often)}
        for name, title in _UNEQUAL.items()
        if f"{name}_covered" in worlds
    ]
    text = f"""## And where one subject has an eighth of all pictures?

{len(worlds)} worlds of {_range(worlds, "pictures")} pictures, rates of
{100 * worlds["rate"].min():g} to {100 * worlds["rate"].max():g} % and ICC of
{worlds["icc"].min():g} to {worlds["icc"].max():g}; {worlds["audits"].median():,.0f} audits each.
Covered: the lowest of all, and by sizes and pictures. Width: over that of an interval at the known
design effect, where {_OFTEN} events and more are expected, the median (lowest to highest).

{markdown(rows)}

Methods that read the spread off the subjects seen fall short: the one with most pictures decides,
and shows a single value of its rate. The tool fills up what few subjects show with what all show of
how alike a subject's pictures are. Weights and a cap answer another question, the rate of subjects
more than that of pictures, and are narrower where pictures of a subject are alike; the weights
shown are not safe where events are few, the cap is."""
    if "before_ours_width" not in worlds:
        return text
    by_icc = (worlds["ours_width"] / worlds["before_ours_width"])[often].groupby(worlds["icc"])
    moved = [{"ICC": f"{icc:g}", "width": _span(part)} for icc, part in by_icc]
    return f"{text}\n\nThe tool's width over that of before:\n\n{markdown(moved)}"


def _span(ratio: pd.Series, where: pd.Series | None = None) -> str:
    kept = ratio if where is None else ratio[where]
    return f"{kept.median():.2f} ({kept.min():.2f} to {kept.max():.2f})"


def _lowest(rows: pd.DataFrame, name: str) -> float:
    return float(rows[name].min()) if name in rows else float("nan")


def _widths(rows: pd.DataFrame) -> str:
    """How much wider than an interval that is told the design effect."""
    enough = (rows["subjects"] >= 20) & (rows["pictures"] * rows["rate"] >= 5)
    rows = rows[enough & (rows["size"] != 1) & (rows["size"] != INFORMATIVE)]
    if rows.empty or "known_width" not in rows:
        return ""
    ratio = rows["width"] / rows["known_width"]
    return f"{ratio.median():.2f} ({ratio.max():.2f})"


def _before(row: pd.Series, name: str) -> dict[str, object]:
    """A column of the earlier version's share, where it was asked."""
    value = row.get(f"before_{name}", np.nan)
    return {} if pd.isna(value) else {"before": _percent(float(value))}


def _zipf(rate: pd.DataFrame) -> str:
    part = rate[rate["size"] == ZIPF]
    if part.empty:
        return ""
    rows = []
    for _, r in part.iterrows():
        row: dict[str, object] = {
            "pictures": f"{r['pictures']:,.0f}",
            "rate": f"{100 * r['rate']:g} %",
            "ICC": f"{r['icc']:g}",
        }
        row |= {m: _percent(r[k]) for k, m in _METHODS.items() if k in ("covered", "korn")}
        row["width over that at the known design effect"] = f"{r['width'] / r['known_width']:.2f}"
        row["Korn and Graubard's"] = f"{r['korn_width'] / r['known_width']:.2f}"
        if not pd.isna(r.get("before_width", np.nan)):
            row["before"] = f"{r['before_width'] / r['known_width']:.2f}"
        rows.append(row)
    return (
        "\n\nWhere the pictures of subjects follow Zipf's law, so that the first of 200 has "
        f"a sixth of them:\n\n{markdown(rows)}"
    )


def _listed(title: str, few: pd.DataFrame) -> str:
    if few.empty:
        return ""
    chosen = few.sort_values("covered").head(20)
    rows = [
        {
            "pictures": f"{r.pictures:,.0f}",
            "rate": f"{100 * r.rate:g} %",
            "pictures a subject": r.size,
            "ICC": f"{r.icc:g}",
            "audits": f"{r.audits:,.0f}",
            "covered": _percent(r.covered),
            "interval too low": _percent(r.below),
            "too high": _percent(r.above),
        }
        for r in (_Row(row) for _, row in chosen.iterrows())
    ]
    more = f" The lowest 20 of {len(few)}." if len(few) > 20 else ""
    return f"\n\n{title}{more}\n\n{markdown(rows)}"


class _Row:
    """A row whose columns are attributes, ``size`` included."""

    def __init__(self, row: pd.Series) -> None:
        self.__dict__.update({str(k): v for k, v in row.items()})

    def __getattr__(self, name: str) -> float:
        raise AttributeError(name)


def _pairs(pair: pd.DataFrame) -> str:
    measures = {
        "covered": "difference, clip-audit",
        "ratio_covered": "ratio, clip-audit",
        "newcombe": "difference, Newcombe on rows",
        "clusters": "difference, percentile bootstrap over subjects",
    }
    parts = pair.groupby(
        pair["shared"].fillna("").replace("", "own subjects")
        + ", "
        + pair["size"].map(lambda s: f"{s} pictures each"),
        sort=True,
    )
    summary = [
        {"groups": name, "worlds": len(part)}
        | {f"{m}: lowest": _percent(part[k].min()) for k, m in measures.items()}
        for name, part in parts
    ]
    given = pair["ratio_given"].min()
    return f"""## And a difference, or a ratio?

Two groups of {_range(pair, "pictures")} and {_range(pair, "pictures_other")} pictures.

{markdown(summary)}

A ratio has no interval where either group has no event: in the world with fewest, that leaves
{_percent(given)} of audits. Coverage is among those with an interval."""


def _families(family: pd.DataFrame) -> str:
    audits = int(family["audits"].median())
    boundary, null = (family[family["world"] == w] for w in (BOUNDARY, NONE))
    return f"""## Is a verdict wrong anywhere in a family?

{audits:,} audits a world. An audit counts as wrong if a single statement of its family is wrong.
The allowed share is 5 %; with {audits:,} audits a method that is wrong in exactly 5 % shows up to
{_percent(_most(audits))} by chance (two standard errors).

**At the boundary**, every gap of the family is exactly as large as its margin, so that neither
*exceeds margin* nor *within margin* is true of any. Among all pairs of more than two groups that is
impossible: there half of the groups have the higher rate, and pairs of equal groups are truly
small. "One at a time" is what happens if each gap is judged by its own 95 % interval.

{markdown(_family_rows(boundary, ("wrong_large", "wrong_small", "missed"), alone=True))}

**Without any disparity**, every rate is the same.

{markdown(_family_rows(null, ("wrong_large", "wrong_q", "missed", "ratio_missed"), alone=False))}

![Share of wrong audits of each world](figures/calibration-errors.png)

*Share of audits with at least one wrong statement, with its Monte Carlo interval. The line is the
5 % allowed.*"""


def _family_rows(
    family: pd.DataFrame, errors: Sequence[str], alone: bool
) -> list[dict[str, object]]:
    rows = []
    for _, r in family.iterrows():
        row: dict[str, object] = {"groups x labels": f"{r['groups']:.0f} x {r['labels']:.0f}"}
        row["comparisons"] = f"{r['comparisons']:,.0f}"
        row["world"] = world(r)
        row |= {(_ERRORS | _RATIO)[e]: _marked(r[e], r["audits"]) for e in errors}
        if "before_missed" in family:
            pair = (r["before_missed"], r["before_ratio_missed"])
            row["both before"] = "" if np.isnan(pair[0]) else " / ".join(map(_percent, pair))
        if alone:
            row["one at a time: large"] = _percent(r["wrong_large_alone"])
        rows.append(row)
    return rows


def world(row: pd.Series) -> str:
    """A family's world in a few words."""
    largest = max(row["pictures"], row["largest"])
    n = f"{row['pictures']:,.0f}"
    n += f" to {largest:,.0f}" if largest > row["pictures"] else ""
    words = [f"{n} pictures at {100 * row['rate']:g} %"]
    if row["world"] == BOUNDARY:
        words.append(f"margin {100 * row['margin']:g}")
    if row["groups"] > 2:
        words.append("against the rest" if row["against"] == REST else "all pairs")
    if row["size"] != 1 or row["shared"] != APART:
        words.append(f"subjects of {row['size']}, ICC {row['icc']:g}")
    if row["shared"] != APART:
        words.append(row["shared"])
    if row["choose"] is True:
        words.append("one label a picture")
    return "; ".join(words)


def _withins(within: pd.DataFrame) -> str:
    wrong, right = (within[within["gap"] > 0], within[within["gap"] == 0])
    columns = {"within": "within, by the tool", "newcombe": "by Newcombe on rows"}
    parts = []
    for rows, marked in ((wrong, True), (right, False)):
        table_rows: list[dict[str, object]] = []
        for _, r in rows.sort_values(["groups", "size", "icc", "pictures"], key=_shown).iterrows():
            sizes = f"{r['pictures']:,.0f} v {r['pictures_other']:,.0f}"
            row: dict[str, object] = {
                "groups": f"{r['groups']:.0f}",
                "pictures": sizes if r["groups"] == 2 else f"{r['pictures']:,.0f} each",
                "rates": f"{100 * (r['rate'] + r['gap']):g} v {100 * r['rate']:g} %",
                "margin": f"{100 * r['margin']:g}",
                "subjects": "" if r["size"] == 1 else f"of {r['size']}, ICC {r['icc']:g}",
            }
            for name, title in columns.items():
                share = float(r[name])
                row[title] = _marked(share, r["audits"]) if marked else _percent(share)
            if "before_within" in rows:
                row["before"] = _percent(float(r["before_within"]))
            table_rows.append(row)
        parts.append(markdown(table_rows))
    worst = wrong["within"].max()
    bad = int((wrong["within"] > wrong["audits"].map(_most)).sum())
    return f"""## Is a gap at the margin said to lie within it?

That no two groups differ by the margin is claimed where every pair's own bounds, each one-sided at
5 %, lie within it (an intersection-union claim, so without correction). Here the first group's rate
is above the others' by exactly the margin, and the claim is wrong: at most {_percent(worst)};
**{bad} of {len(wrong)}** worlds exceed 5 % by more than two standard errors.

{parts[0]}

And where all groups are equal, so that it is right:

{parts[1]}"""


def _shown(values: pd.Series) -> pd.Series:
    return values.map(lambda v: str(v).zfill(9))


def _peers(peer: pd.DataFrame) -> str:
    rows: list[dict[str, object]] = []
    for _, r in peer.iterrows():
        sizes = f"{r['subjects']:,.0f} subjects of {r['size']} pictures, ICC {r['icc']:g}"
        where = f"{sizes}; {', '.join(f'{100 * p:g}' for p in r['rates'])} %"
        methods = [("ours", _PEERS["ours"], ""), ("ours", _BEFORE, "before_")]
        methods += [(k, m, "") for k, m in _PEERS.items() if k != "ours"]
        for name, title, prefix in methods:
            value = {
                k: float(r.get(f"{prefix}{name}_{k}", np.nan))
                for k in ("covered", "width", "largest", "found", "false")
            }
            if np.isnan(value["covered"]):
                continue
            rows.append(
                {
                    "world": where,
                    "method": title,
                    "one rate: covered": _percent(value["covered"]),
                    "width": f"{value['width']:.3f}",
                    "largest gap: covered": _percent(value["largest"]),
                    "true gaps found": _percent(value["found"]),
                    "equal groups found apart": _percent(value["false"]),
                }
            )
            where = ""
    audits = int(peer["audits"].median())
    fewest = int(peer["bootstrapped"].max())
    return f"""## What does caution cost where events are rare?

Four groups with the rates given, all pairs; {audits} audits a world ({fewest} for fairlearn's
bootstrap of 100 replicates, which takes a second an audit). A gap is found if its bounds exclude 0:
the tool's simultaneous ones, Bonferroni's of the other methods. *Equal groups found apart* is the
share of audits with any such error, of which 5 % are allowed. fairlearn's interval of the largest
difference resamples rows and is not corrected for having chosen the largest.

{markdown(rows)}

Korn and Graubard's interval, the usual one of surveys, is narrower and finds more; it pays for that
where few subjects have an event. The tool adds to the subjects that had an event one more whose
pictures are all alike, so that its coverage holds without knowing how alike they are."""


def _powers(power: pd.DataFrame) -> str:
    rows = []
    for _, r in power[power["audits"] > 0].iterrows():
        small = r["question"] == SMALL
        each = "" if r["size"] == 1 else f", subjects of {r['size']}, ICC {r['icc']:g}"
        sizes = f"{r['pictures']:,.0f} v {r['pictures_other']:,.0f}"
        sizes = f"{r['largest']:,.0f} each" if small else sizes
        rows.append(
            {
                "question": r["question"],
                "pictures": sizes + each,
                "comparisons": f"{r['comparisons']:.0f}",
                "true gap": f"{100 * r['gap']:.1f} points",
                "foretold": _percent(r["power"]),
                "by the bounds": _percent(r["found"]),
                "by q": "" if small else _percent(r["found_q"]),
            }
        )
    return f"""## Does it find what is there?

`clip-audit check` foretells the smallest gap that would be found in 80 % of audits, and how many
pictures it takes to show that a gap is small. Here the gap between the first and the last group is
exactly as foretold. A gap is found if its simultaneous bounds exclude 0, or if q is at most 0.05;
where pictures repeat subjects the forecast is told the effective numbers.

{markdown(rows)}"""


def _limits(rate: pd.DataFrame) -> str:
    text = """## What this does not show

- Worlds are simulated: true pictures may depend on each other in ways that no `cluster_id` names,
  and their attribute labels may be wrong. Neither is in any number here.
- Most cells use 1,000 bootstrap replicates or fewer, half of the tool's default. Audits of a world
  share bootstrap weights in batches of up to 50.
- Intervals of repeated subjects are wider than need be where few subjects have an event and the
  pictures of a subject are hardly alike: by the highest ratios of widths above.
- A few subjects whose pictures are all copies, among many whose are not, can't be known of before
  one of them has an event; intervals are then too low."""
    if len(rate) and (rate["size"] == INFORMATIVE).any():
        part = _known(rate[rate["size"] == INFORMATIVE], informative=True)
        few = part[part["covered"] < FLOOR]
        text += f"""
- In worlds where few subjects have many pictures *and* another rate than the others, a sample of
  few subjects may hold none of them, and no method can know. Such worlds are counted apart: a
  subject in ten has 12 pictures and a rate half as large again. Their coverage is
  {_percent(part["covered"].min())} to {_percent(part["covered"].max())};
  {len(few)} of {len(part)} lie below 93 %."""
        text += _listed("Those below 93 %:", few)
    return text


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table of these rows."""
    if not rows:
        return "(none)"
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(str(row[n]) for n in names)} |" for row in rows]
    return "\n".join(lines)


def coverage_figure(rows: pd.DataFrame) -> Figure:
    """Heat maps: the lowest coverage by expected events and subjects, one map a method."""
    rate = _known(rows[rows["kind"] == "rate"])
    expected = rate["pictures"] * np.minimum(rate["rate"], 1 - rate["rate"])
    at = {"x": pd.cut(expected, _EVENTS, right=False), "y": pd.cut(rate["subjects"], _SUBJECTS)}
    with mpl.rc_context({"font.size": 10, "axes.titlesize": 11, "figure.facecolor": "white"}):
        figure = Figure(figsize=(11, 12.2), layout="constrained")
        axes = figure.subplots(3, 2, sharex=True, sharey=True).ravel()
        for axis, (name, title) in zip(axes, _METHODS.items(), strict=True):
            # observed=False: every field has its place, also without a world
            lowest = rate.groupby([at["y"], at["x"]], observed=False)[name].min().unstack()
            _heat(axis, 100 * lowest, title)
        figure.supxlabel("expected events (or non-events, whichever are fewer)")
        figure.supylabel("subjects")
    return figure


def _heat(axis: Axes, lowest: pd.DataFrame, title: str) -> None:
    values = lowest.to_numpy(float)
    palette = sns.blend_palette(["#8C2D04", "#F5A25D", "#FBE3CC"], as_cmap=True)
    good = mpl.colors.ListedColormap(["#CFE3F1"])
    shades = {"linewidths": 1, "linecolor": "white", "cbar": False, "ax": axis}
    sns.heatmap(np.where(values < 93, values, np.nan), cmap=palette, vmin=0, vmax=93, **shades)
    sns.heatmap(np.where(values >= 93, values, np.nan), cmap=good, vmin=93, vmax=100, **shades)
    for (y, x), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value < 30 else _INK
            # rounded down, so that nothing below 93 reads 93
            text = f"{np.floor(value):.0f}"
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink)
    axis.set_title(title, loc="left")
    axis.set_xticks(np.arange(len(_EVENTS) - 1) + 0.5, _bins(_EVENTS), rotation=35, ha="right")
    axis.set_yticks(np.arange(len(_SUBJECTS) - 1) + 0.5, _bins(_SUBJECTS, 1), rotation=0)
    axis.set_xlabel("")
    axis.set_ylabel("")


def _bins(edges: Sequence[float], step: int = 0) -> list[str]:
    names = []
    for low, high in zip(edges, edges[1:], strict=False):
        last = f"{low:,.0f}+" if step == 0 else f"over {low:,.0f}"
        below = f"below {high:,.0f}" if step == 0 and low == 0 else f"{low + step:,.0f}–{high:,.0f}"
        names.append(last if np.isinf(high) else below)
    return names


def error_figure(rows: pd.DataFrame) -> Figure:
    """A dot a world: the share of wrong audits with its Monte Carlo interval, by sort of error."""
    family = rows[rows["kind"] == "family"].reset_index(drop=True)
    with mpl.rc_context({"font.size": 9, "axes.titlesize": 10, "figure.facecolor": "white"}):
        figure = Figure(figsize=(11, 1.6 + 0.2 * len(family)), layout="constrained")
        axes = figure.subplots(1, len(_ERRORS), sharey=True)
        for axis, (name, title) in zip(axes, _ERRORS.items(), strict=True):
            _dots(axis, family, name, title)
        labels = [_short_world(row) for _, row in family.iterrows()]
        axes[0].set_yticks(range(len(family)), labels, fontsize=8)
        axes[0].set_ylim(len(family) - 0.4, -0.6)
    return figure


def _short_world(row: pd.Series) -> str:
    """Enough to find a dot's row in the table."""
    where = {BOUNDARY: "at the margin", NONE: "no gap"}[row["world"]]
    largest = max(row["pictures"], row["largest"])
    name = f"{where}: {row['groups']:.0f} x {row['labels']:.0f}, {largest:,.0f} pictures"
    dependent = row["size"] != 1 or row["shared"] != APART
    return name + (f", {row['size']} a subject, ICC {row['icc']:g}" if dependent else "")


def _dots(axis: Axes, family: pd.DataFrame, name: str, title: str) -> None:
    asked = family[family[name].notna()]
    low, high = wilson(asked[name] * asked["audits"], asked["audits"])
    bad = asked[name] > asked["audits"].map(_most)
    colours = np.where(bad, _ORANGE, _BLUE)
    axis.hlines(asked.index, 100 * low, 100 * high, color=colours, linewidth=1.5)
    axis.scatter(100 * asked[name], asked.index, s=14, color=colours, zorder=3)
    axis.axvline(100 * ALLOWED, color=_INK, linewidth=1)
    axis.set_title(textwrap.fill(title, 18), loc="left")
    axis.set_xlim(0, max(10.0, 105 * float(np.max(high, initial=0.0))))
    axis.set_xlabel("% of audits")
    sns.despine(ax=axis)


def _known(rate: pd.DataFrame, informative: bool = False) -> pd.DataFrame:
    """Worlds in which the tool gives an interval; those counted apart only if asked for."""
    known = rate[rate["judged"] > 0]
    return known if informative else known[known["size"] != INFORMATIVE]


def _most(audits: float) -> float:
    """The largest share that 5 % can explain: plus two standard errors."""
    return ALLOWED + 2 * float(np.sqrt(ALLOWED * (1 - ALLOWED) / audits))


def _marked(share: float, audits: float) -> str:
    text = _percent(share)
    return f"**{text}**" if share > _most(audits) else text


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"


def _range(rows: pd.DataFrame, column: str) -> str:
    return f"{rows[column].min():,.0f} to {rows[column].max():,.0f}"
