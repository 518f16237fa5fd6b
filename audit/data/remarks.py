"""What in a data set is probably not meant: pointed at with counts, never mended unasked."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

import pandas as pd

from audit.core.characters import LONG, apart, plain, spelt
from audit.core.registry import suggest
from audit.core.rows import Values
from audit.core.tables import UNKNOWN
from audit.data.manifest import Manifest
from audit.data.values import number

if TYPE_CHECKING:
    from audit.data.card import AttributeCard, Card

#: spellings by which files say that there is no value, where they may also be values
_NO_VALUE: Final = {
    "", "-", "--", "?", "n/a", "na", "nan", "nil", "none", "null", "unknown", "undefined",
    "not known", "not available", "not given", "not stated", "#n/a", "#na", "missing",
}  # fmt: skip
#: months by name in the languages that spreadsheets speak, and their short forms
_BY_MONTH: Final = (
    "jan(?:uary|uar|vier|v)?|ene(?:ro)?|gen(?:naio)?",
    "feb(?:ruary|ruar|rero|braio|r)?|f[eé]vr?(?:ier)?",
    "mar(?:ch|s|zo|t)?|m[aä]rz?|mrz|mrt",
    "apr(?:il|ile)?|avr(?:il)?|abr(?:il)?",
    "may|mai|mayo|maggio|mag|mei",
    "june?|juni?|juin|junio|giu(?:gno)?",
    "july?|juli?|juil(?:let)?|julio|lug(?:lio)?",
    "aug(?:ust)?|ao[uû]t?|ago(?:sto)?",
    "sept?(?:ember|embre|tembre)?|set(?:tembre)?",
    "oct(?:ober|obre)?|okt(?:ober)?|ott(?:obre)?",
    "nov(?:ember|embre|iembre)?",
    "dec(?:ember)?|dez(?:ember)?|dic(?:embre)?|d[eé]c(?:embre)?",
)
_MONTHS: Final = "|".join(_BY_MONTH)
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_DAY_MONTH: Final = re.compile(
    rf"{_DAY}[-./ ]+(?:{_MONTHS})\.?|(?:{_MONTHS})\.?-(?:{_DAY}|\d\d)", re.IGNORECASE
)
_DATE: Final = re.compile(r"\d{4}-\d\d?-\d\d?(?:[ T].*)?|\d\d?[./]\d\d?[./]\d{2,4}")
_RANGE: Final = re.compile(r"(\d{1,3})\s*(?:-|–|—|to)\s*(\d{1,3})", re.ASCII)
_OLDEST: Final = 120
#: what a column of ages in years is called
_AGES: Final = {
    "age",
    "ages",
    "age years",
    "age group",
    "perceived age",
    "apparent age",
    "age range",
}
#: values named in one remark
_SHOWN: Final = 4
#: how much more pictures are worth without one subject for that to be said, and of how many groups
_WIDENED: Final = 1.25
_GROUPS: Final = 20


@dataclass(frozen=True)
class Remark:
    """One sentence about the data.

    ``attribute`` is whose groups it touches; where it is about what a task reads, ``task`` names
    it, and ``of_answers`` says that this is the right answers. Neither: it is about the data as a
    whole. ``groups``: it touches these only. ``of_values``: it is about groups as they are written,
    and not where they are bins.
    """

    text: str
    attribute: str = ""
    task: str = ""
    groups: frozenset[str] = frozenset()
    of_values: bool = False
    of_answers: bool = True


def of_data(card: Card, manifest: Manifest, table: pd.DataFrame) -> tuple[Remark, ...]:
    """Everything to be said of a data set before a picture is opened."""
    found = [*_of_subjects(card, manifest), *map(Remark, _twins(card.attributes))]
    found += _of_largest(card, table)
    for name in sorted(manifest.rounded):
        told = "its numbers are floats so large that neighbouring codes become one"
        touched = name if name in card.attributes else ""
        found.append(Remark(f"'{name}': {told}; store codes as text", touched))
    for name, declared in card.attributes.items():
        raw, known = tally(manifest.table[name]), tally(table[name])
        found += [
            Remark(text, name, of_values=True)
            for text in _of_order(name, declared.order, card.nothing(name), known)
        ]
        found += [Remark(text, name) for text in _of_attribute(name, declared, raw, known)]
    return tuple(found)


def tally(values: Values) -> dict[str, int]:
    """How often each value occurs, where there is one; the most frequent first."""
    return {str(value): int(n) for value, n in values.value_counts().items()}


def counted(values: Mapping[str, int]) -> str:
    """A few values with how often they occur: ``'09-Mar' (40), 'Oct-19' (40)``."""
    some = [f"'{spelt(value)}' ({n:,})" for value, n in list(values.items())[:_SHOWN]]
    more = len(values) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")


def of_column(column: str, values: pd.Series[str], named: Collection[str]) -> Iterator[str]:
    """What is probably not meant in a column whose values a task tells apart.

    ``named`` are the values that it asks about; empty: all.
    """
    counts = tally(values)
    yield from _alike(column, counts, "values")
    lost = {value: n for value, n in counts.items() if named and value not in named}
    if lost:
        yield f"'{column}': {counted(lost)} are values that nothing names: not asked about"


def says_nothing(value: str) -> bool:
    """Whether files write this where there is no value; some mean it as a value."""
    return plain(value) in _NO_VALUE


def _of_subjects(card: Card, manifest: Manifest) -> Iterator[Remark]:
    if card.cluster_column is not None:
        counts = tally(manifest.table[card.cluster_column])
        yield from map(Remark, _alike(card.cluster_column, counts, "subjects"))
        nobody = {v: n for v, n in counts.items() if says_nothing(v)}
        if nobody:
            told = f"'{card.cluster_column}': {counted(nobody)} counts as one subject each"
            yield Remark(f"{told}; give pictures of whom nobody knows a value of their own")
    else:
        yield Remark(
            "the card names no 'cluster_column', so every picture counts as a subject of its own; "
            "if a person, a family or a video has several pictures, intervals are too narrow"
        )


def _of_largest(card: Card, table: pd.DataFrame) -> Iterator[Remark]:
    """One subject with so many pictures that intervals are wider than without them.

    Of all pictures, else of the group of each attribute that this costs most.
    """
    if card.cluster_column is None:
        return
    whole = _widened(table["cluster_id"])
    if whole > _WIDENED:
        yield Remark(_of_one(f"'{card.cluster_column}'", table["cluster_id"]))
        return
    for name in card.attributes:
        groups = {str(g): ids for g, ids in table.groupby(name)["cluster_id"]}
        if groups and len(groups) <= _GROUPS:
            worst = max(groups, key=lambda g: _widened(groups[g]))
            if _widened(groups[worst]) > _WIDENED:
                told = _of_one(f"'{name}': of '{spelt(worst)}'", groups[worst])
                yield Remark(told, name, groups=frozenset({worst}), of_values=True)


def _worth(sizes: pd.Series[int]) -> float:
    """What pictures of subjects of these sizes are worth if those of each are copies (Kish)."""
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def _widened(ids: pd.Series[str]) -> float:
    """How many times as much pictures are worth without the subject that has most of them."""
    sizes = ids.value_counts()
    return _worth(sizes.iloc[1:]) / _worth(sizes) if len(sizes) else 0.0


def _of_one(where: str, ids: pd.Series[str]) -> str:
    """How much the largest subject has, and what a cap at the median of all would leave."""
    sizes = ids.value_counts()
    n, cap = int(sizes.sum()), max(math.ceil(sizes.median()), 1)
    kept = sizes.clip(upper=cap)
    largest = f"'{spelt(str(sizes.index[0]))}' has {sizes.iloc[0]:,} of {n:,} pictures"
    return (
        f"{where}: {largest} ({sizes.iloc[0] / n:.0%}), which makes intervals wider: if those of a "
        f"subject are copies, all are worth {_worth(sizes):,.0f}; 'most_per_cluster: {cap}' would "
        f"leave {kept.sum():,}, worth {_worth(kept):,.0f}"
    )


def _twins(names: Iterable[str]) -> Iterator[str]:
    """Attributes whose names a reader takes for one."""
    same: dict[str, list[str]] = defaultdict(list)
    for name in names:
        same[plain(name)].append(name)
    for twins in same.values():
        if len(twins) > 1:
            yield f"{_quoted(twins)} are attributes of their own, and their names {apart(twins)}"


def _of_attribute(
    name: str, declared: AttributeCard, raw: Mapping[str, int], counts: Mapping[str, int]
) -> Iterator[str]:
    """What the spellings of one attribute make one ask, all of them and those of known values."""
    yield from _never("unknown", name, declared.unknown, raw)
    if UNKNOWN in raw and UNKNOWN not in declared.unknown:
        yield f"'{name}': '{UNKNOWN}' ({raw[UNKNOWN]:,}) is read as nobody knows, as tables call it"
    yield from _alike(name, counts)
    yield from _dates(name, counts, declared.order)
    impossible = {v: n for v, n in counts.items() if _is_impossible(name, v)}
    if impossible:
        yield f"'{name}': {counted(impossible)} can't be: check the file"
    nothing = {v: n for v, n in counts.items() if says_nothing(v)}
    if nothing:
        told = "a group of its own; list it under 'unknown' in the card if it means nobody knows"
        yield f"'{name}': {counted(nothing)} is {told}"


def _of_order(
    name: str, order: Iterable[str], gone: Collection[str], known: Mapping[str, int]
) -> Iterator[str]:
    """What the card puts in order though it makes no group."""
    both = [value for value in order if value in gone]
    if both:
        told = "also means that nobody knows, so it is no group; list it once"
        yield f"'{name}': 'order' lists {_quoted(both)}, which {told}"
    yield from _never("order", name, [value for value in order if value not in gone], known)


def _never(key: str, name: str, listed: Iterable[str], there: Mapping[str, int]) -> Iterator[str]:
    """What the card lists of an attribute and no picture has."""
    listed = list(listed)
    never = [value for value in listed if value not in there]
    if never:
        near = suggest(never[0], [v for v in there if v not in listed]) or ""
        yield f"'{name}': '{key}' lists {_quoted(never)}, which no picture has{_and(near)}"


def _alike(name: str, counts: Mapping[str, int], what: str = "groups") -> Iterator[str]:
    """Spellings that a reader takes for one: they stay groups, values or subjects of their own."""
    same: dict[object, list[str]] = defaultdict(list)
    for value in counts:
        # floats take neighbouring serial numbers for one
        same[_size(value) or plain(value)].append(value)
    twins = [values for values in same.values() if len(values) > 1]
    for values in twins[:_SHOWN]:
        equal = number(values[0]) is not None
        differ = "as numbers they are equal" if equal else f"they {apart(values)}"
        shown = counted({value: counts[value] for value in values})
        yield f"'{name}': {shown} are {what} of their own, and {differ}; perhaps one is meant"
    if len(twins) > _SHOWN:
        yield f"'{name}': so are {what} in {len(twins) - _SHOWN:,} more places"


def _size(value: str) -> tuple[int, str, int] | None:
    """A number without the ways to write it: sign, digits and power of ten; None if it is none."""
    if number(value) is None or len(value) > LONG:
        return None
    try:
        sign, digits, power = Decimal(value.replace(",", ".")).as_tuple()
    except InvalidOperation:  # a power of ten beyond all numbers
        return None
    assert isinstance(power, int)
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    return (sign, kept, power + len(text) - len(kept)) if kept else (0, "", 0)


def _dates(name: str, counts: Mapping[str, int], order: Iterable[str]) -> Iterator[str]:
    """Ranges such as 3-9 that a spreadsheet took for a day and a month."""
    ranges = any(_RANGE.fullmatch(value) for value in (*counts, *order))
    dates = {
        value: n
        for value, n in counts.items()
        if _DAY_MONTH.fullmatch(value) or (ranges and _DATE.fullmatch(value))
    }
    if dates:
        told = "look like dates: a spreadsheet makes them of ranges such as '3-9' or '10-19'"
        yield f"'{name}': {counted(dates)} {told}; get the file as it was published"


def unspoilt(value: str, ranges: Iterable[str]) -> str | None:
    """The range that a spreadsheet made this date of; None if it is none of these.

    >>> unspoilt("Oct-19", ["3-9", "10-19"]), unspoilt("9-Mar", ["3-9", "10-19"])
    ('10-19', '3-9')
    """
    if not (_DAY_MONTH.fullmatch(value) or _DATE.fullmatch(value)):
        return None
    word = re.sub(r"[\d\W_]+", "", value)
    digits = re.findall(r"\d+", re.sub(r"[ T]\d\d:.*", "", value))
    months = [n for n, name in enumerate(_BY_MONTH, 1) if re.fullmatch(name, word, re.IGNORECASE)]
    parts = {*map(int, digits), *months}
    for one in ranges:
        between = _RANGE.fullmatch(one)
        if between and {int(between[1]), int(between[2])} <= parts:
            return one
    return None


def _is_impossible(name: str, value: str) -> bool:
    """An age that nobody has, or a range of ages that ends before it begins."""
    if re.sub(r"[^a-z]+", " ", name.casefold()).strip() not in _AGES:
        return False
    between = _RANGE.fullmatch(value)
    if between:
        return int(between[1]) > int(between[2])
    size = number(value)
    return size is not None and not 0 <= size <= _OLDEST


def _quoted(values: list[str]) -> str:
    some = ", ".join(f"'{spelt(value)}'" for value in values[:_SHOWN])
    return some + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")


def _and(advice: str) -> str:
    return f". {advice}" if advice else ""
