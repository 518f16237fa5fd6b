"""The verdicts' words before layout 6 of a run, and what is written now.

Runs, suites, plans, the author's words and options of before are read in the words of now; nothing
on disk is rewritten, so seals and digests hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from audit.core.rows import Fields, Row
from audit.core.verdicts import Verdict

#: the words of tables and findings
_VERDICTS: Final[Mapping[str, str]] = {
    "shown large": Verdict.EXCEEDS.value,
    "shown small": Verdict.WITHIN.value,
    "cannot tell": Verdict.INCONCLUSIVE.value,
}
#: the same as gates of suites spell them, which is also how the digest of a plan does
KEYS: Final = {old.replace(" ", "_"): Verdict(new).key for old, new in _VERDICTS.items()}
_SEALED: Final = {new: old for old, new in KEYS.items()}
#: as options of commands spell them
OPTIONS: Final = {old.replace("_", "-"): new.replace("_", "-") for old, new in KEYS.items()}
#: as the author's words quote how many findings have each
FACTS: Final = {f"run.{old}": f"run.{new}" for old, new in OPTIONS.items()}
#: columns of tables
_COLUMNS: Final = {"shown_large": Verdict.EXCEEDS.key}

_ANY: Final = "|".join(_VERDICTS)
#: pieces of the sentences that were made of verdicts; what is quoted in them is no piece
_PIECES: Final = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"\bfails if shown large\b", "fails if a gap exceeds the margin"),
        (r"\bfails unless shown small\b", "fails unless every gap is within the margin"),
        (r"(?<=; )cannot tell(?= allowed\b)", "inconclusive"),
        (r"(?<=; too few and )cannot tell(?= allowed\b)", "inconclusive"),
        (r"\ba change shown large against a margin of\b", "a change that exceeds the margin of"),
        (r"\ba change shown small:", "a change within the margin:"),
        (r"\bshown large against a margin of\b", "exceeds the margin of"),
        (r"\bshown small: below the margin of\b", "within the margin of"),
        (r"\bshown small: ", "within the margin: "),
        (r"\bcannot tell whether it exceeds the margin of\b", "inconclusive against the margin of"),
        (r"\bcannot tell whether that is\b", "inconclusive: it is open whether that is"),
        (r"(?<=from chance, )shown large\b", "which exceeds the margin"),
        (r"(?<=of chance, )shown small\b", "which is within the margin"),
        (
            r"\bnothing is shown small of groups that nobody looked at\b",
            "'within margin' is said of no group that nobody looked at",
        ),
    )
)
#: what a sentence ends in, or is about, and what ends a gate's
_LAST: Final = re.compile(rf"(?<=[:;] )({_ANY})(?=\.$|; how far| \(too few| is the |, which this)")
#: what of findings, gates and suites holds a verdict, and what holds sentences
_HOLD_WORDS: Final = frozenset({"verdict", "outcome", "label_errors"})
_HOLD_KEYS: Final = frozenset({"fail_if", "unless", "allow"})
_HOLD_SENTENCES: Final = frozenset({"statement", "sentence", "gate", "caveats"})


def in_words_of_now(found: Any) -> Any:
    """A table, findings, gates or a suite of an earlier run, in the words of now."""
    if isinstance(found, pd.DataFrame):
        return _table(found)
    if isinstance(found, list):
        return [in_words_of_now(one) for one in found]
    if not isinstance(found, Mapping):
        return found
    return {name: _field(name, value) for name, value in found.items()}


def _table(table: pd.DataFrame) -> pd.DataFrame:
    named = table.rename(columns=_COLUMNS)
    columns = [name for name in map(str, named) if name.endswith("verdict")]
    words = {name: named[name].replace(_VERDICTS) for name in columns}
    if "statement" in named:
        words["statement"] = named["statement"].map(sentence_of_now, na_action="ignore")
    return named.assign(**words)


def _field(name: str, value: object) -> object:
    if name in _HOLD_WORDS:
        return _each(value, lambda word: _VERDICTS.get(word, word))
    if name in _HOLD_KEYS:
        return _each(value, key_of_now)
    if name in _HOLD_SENTENCES:
        return _each(value, sentence_of_now)
    return in_words_of_now(value)


def _each(value: object, change: Callable[[str], object]) -> object:
    """Every text of nested values changed; keys and all else stay."""
    if isinstance(value, Mapping):
        return {name: _each(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def sentence_of_now(text: str) -> str:
    """A verdict, or a sentence that this tool made of one, in the words of now."""
    for old, new in _PIECES:
        text = old.sub(new, text)
    text = _LAST.sub(lambda match: _VERDICTS[match[0]], text)
    return _VERDICTS.get(text, text)


def key_of_now(word: object) -> object:
    """A verdict as a suite's gate spells it; of what is no such word, the thing itself."""
    return KEYS.get(word, word) if isinstance(word, str) else word


def as_sealed(fixed: Fields) -> Row:
    """What a suite fixes, its gates in the words that digests are of: plans sealed before hold."""
    gates = [
        {n: _each(v, lambda w: _SEALED.get(w, w)) if n in _HOLD_KEYS else v for n, v in g.items()}
        for g in fixed["gates"]
    ]
    return {**fixed, "gates": gates}
