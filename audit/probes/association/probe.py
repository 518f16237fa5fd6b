"""Association: do pictures of one group lean towards some words, or pictures, more than others?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field, model_validator

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Row
from audit.core.tables import ENSEMBLE, EXCEEDS, NOT_JUDGED, OK, REST, SCORES, TOO_FEW, UNDEFINED
from audit.core.verdicts import Verdict, size_bounds, verdicts
from audit.data.dataset import Dataset
from audit.data.labels import (
    Label,
    LabelSet,
    PromptSet,
    load_label_set,
    load_prompt_set,
    normalise,
)
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.metrics import DEFAULT_FAMILY, Groups, joint_status, margin_family, standing
from audit.measure.prompts import class_embeddings, ensemble, every_wording
from audit.probes.kit.base import Design, Probe, Seen, Texts, no_such_value, require_column
from audit.stats.association import (
    Alternative,
    Associations,
    Spread,
    Sums,
    associations,
    contrast,
    d_interval,
    sums,
)
from audit.stats.permutation import dealt_sums
from audit.stats.significance import bonferroni_level, holm

#: ``metric`` of rows: d, and beside it the difference of mean s that d puts in units of a spread
EFFECT_SIZE: Final = "effect_size"
DIFFERENCE: Final = "difference_of_means"
#: ``attribute`` of rows in which two sets named in the suite are compared, not groups of people
TARGETS: Final = "targets"
#: begins what ``method`` says of a row whose q and bounds disagree on whether d is 0
AT_ODDS: Final = "; q and bounds disagree: "
#: deals of the null beside each d: enough for its mean and outer quantiles
DEALS: Final = 1000
#: pictures scored at a time, so that their embeddings are never all copied
_BATCH: Final = 8192
_NONE: Final = np.empty((0, 0))

Words = tuple[str, ...]
Pictures = dict[str, Words]


def _several(value: object) -> object:
    """One text as several; nothing as none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _stimuli(value: object) -> object:
    """Words, or columns of the manifest with their values."""
    if isinstance(value, Mapping) and value:
        return {str(column): _read(values) for column, values in value.items()}
    return _read(value)


def _read(value: object) -> Words:
    """Texts, of which there may be none.

    Raises:
        ValueError: something else.
    """
    given = _several(value)
    if not isinstance(given, list | tuple):
        told = f"{value!r} is neither words nor pictures"
        raise ValueError(sentence(told, "Give labels, tags or label sets, or {column: value}"))
    for text in given:
        if not isinstance(text, str):
            raise ValueError(sentence(f"{text!r} is not read as text", "Put it in quotes"))
    return tuple(given)


Stimuli = Annotated[Words | Pictures, BeforeValidator(_stimuli)]


@dataclass(frozen=True)
class Pair:
    """Two sets to compare: ``sides`` is 0 for stimuli in the first, 1 in the second, -1 in none."""

    group: str
    other: str
    sides: Integers
    status: str = OK
    reason: str = ""


@dataclass(frozen=True)
class Scored:
    """s of every stimulus for every question, (stimuli, questions), nan where it has none.

    ``questions`` are (condition, label); ``clusters``, what repeats, from 0 to ``number`` - 1.
    """

    s: Floats
    questions: Sequence[tuple[str, str]]
    clusters: Integers
    number: int

    @property
    def there(self) -> Flags:
        """Which stimuli have a score; those compared with have none."""
        return np.asarray(~np.isnan(self.s).any(axis=1))

    @property
    def headline(self) -> Flags:
        """Which questions are asked in the headline condition."""
        return np.array([condition == ENSEMBLE for condition, _ in self.questions])


@dataclass(frozen=True)
class Tested:
    """What was found of one pair: arrays by question.

    ``chance``: mean, low and high of d when subjects are dealt by chance; ``usable``: which enter
    the family; ``low, high``: bounds that hold for all of the family at once; ``q``.
    """

    pair: Pair
    found: Associations
    chance: Floats
    usable: Flags
    low: Floats
    high: Floats
    q: Floats


class Association(Probe):
    """Effect size d of how far pictures of groups lean towards words, or towards pictures.

    Each stimulus w has one number: ``s(w, A, B)``, its mean cosine to A less that to B, where A is
    ``toward`` and B ``against``; without ``against`` the words of ``toward`` are asked one by one
    and s is the cosine to each. d is the difference of mean s between two sets of stimuli in units
    of the standard deviation of s over both (``audit.stats.association``). The sets are groups of
    the suite's attributes, or the two named in ``targets``. So one probe is

    - WEAT: ``targets``, ``toward`` and ``against`` are words;
    - iEAT: all are pictures;
    - cross-modal: groups of people against words;
    - single-category: no ``against``;
    - C-ASC: that of a group and everyone else.

    Words are labels, tags or names of the label sets given. Pictures are ``{column: value}`` of the
    manifest; a folder is ``{path: its/path}``. Subjects shown in A or B are not compared. Bounds
    are over the choice of people (of words, where words are compared): other words for A and B are
    another question.
    """

    asks: ClassVar[str] = (
        "Do pictures of one group lie closer to some words, or pictures, than those of others?"
    )
    later: ClassVar = frozenset()  # its name is in plans sealed before
    emits: ClassVar = SCORES

    kind: Literal["association"] = "association"
    label_set: Annotated[Words, BeforeValidator(_several)] = Field(
        (), description="a bundled label set or the path of your own YAML, or several"
    )
    templates: str = Field("plain", description="a bundled template set or the path of your own")
    toward: Stimuli = Field(
        (), description="A: labels, tags or label sets, or {column: value}; default: all labels"
    )
    against: Stimuli = Field(
        (), description="B, likewise; without it each word of 'toward' is asked alone"
    )
    targets: dict[str, Stimuli] = Field(
        default_factory=dict,
        description="two named sets to compare; default: groups of the suite's attributes",
    )
    compare: Literal["rest", "pairs"] = Field(
        "rest", description="each group with everyone else, or with each other group"
    )
    margin: float = Field(0.2, gt=0, allow_inf_nan=False, description="smallest d that matters")
    spread: Spread = Field("sample", description="standard deviation that d is in units of")
    alternative: Alternative = Field("two-sided", description="of p; published: 'greater'")
    permutations: int = Field(2000, ge=1, description="drawn where all are more than 20,000")

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.against and not self.toward:
            told = "there is something to lean against and nothing to lean toward"
            raise FieldError(sentence(told, "Name 'toward' too"), "against")
        if not (self.toward or len(self.label_set) in (1, 2)):
            told = f"{len(self.label_set) or 'no'} label sets, and nothing said of 'toward'"
            raise ValueError(sentence(told, "Name 'toward', and 'against' if there is one"))
        if self.against and isinstance(self.against, tuple) != isinstance(self.toward, tuple):
            told = "one of 'toward' and 'against' is words and the other pictures"
            why = "Texts are far from all pictures, and nothing else would show"
            raise FieldError(sentence(told, why, "Give both in one kind"), "against")
        kinds = {isinstance(of, tuple) for of in self.targets.values()}
        if self.targets and (len(self.targets) != 2 or len(kinds) > 1):
            told = "words and pictures" if len(kinds) > 1 else f"{len(self.targets)} sets"
            raise FieldError(sentence(f"{told} to compare", "Name two sets of a kind"), "targets")
        if self._speaks != bool(self.label_set):
            told = "a label set and no words" if self.label_set else "words and no label set"
            raise ValueError(sentence(told, "Give 'label_set' where words are asked"))
        return self

    @property
    def _speaks(self) -> bool:
        """Whether anything is named in words."""
        given = (self.toward, self.against, *self.targets.values())
        return not self.toward or any(isinstance(of, tuple) and of for of in given)

    @property
    def usual_task(self) -> str:
        """The label set, what is compared, and with what."""
        a, b = self._poles
        of = ", ".join(labels.name for labels in self.sets) or "pictures"
        targets = " v ".join(self.targets)
        what = f"{_called(a)} v {_called(b)}" if b else _called(a)
        alone = "word by word" if not b and len(self.labels) > 1 else ""
        told = [part for part in (targets, what if what != of else "", alone) if part]
        return f"{of}: {', '.join(told)}"

    @cached_property
    def sets(self) -> tuple[LabelSet, ...]:
        """The label sets that words are from.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return tuple(load_label_set(ref) for ref in self.label_set)

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The label sets that words are from, if any."""
        return self.sets

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set that words are put into, if there are words."""
        return (load_prompt_set(self.templates),) if self.label_set else ()

    @cached_property
    def _poles(self) -> tuple[Words | Pictures, Words | Pictures]:
        """A and B; B is empty where each word is asked alone."""
        if self.toward:
            return self.toward, self.against
        names: list[Words] = [(labels.name,) for labels in self.sets]
        return names[0], names[1] if len(names) > 1 else ()

    @property
    def of_words(self) -> bool:
        """Whether words are compared, and not pictures."""
        return any(isinstance(of, tuple) for of in self.targets.values())

    @property
    def whole(self) -> str:  # type: ignore[override]
        """Where pictures are compared with pictures, the mean of these is needed first."""
        if self.of_words or isinstance(self._poles[0], tuple):
            return ""
        return (
            "pictures are compared with the mean of others, which must be seen first; memory is "
            "that of the embeddings and of the pictures compared with"
        )

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What is measured: each word asked alone, or A against B as one.

        Raises:
            InputError: a word that is no label, tag or label set here.
        """
        a, b = self._poles
        if isinstance(a, tuple) and not b:
            return tuple(label.text for label in self._labels(a))
        return (f"{_called(a)} v {_called(b)}" if b else _called(a),)

    def resolve(self, dataset: Dataset) -> None:
        """Resolve every word, column and folder; refuse sets that overlap or hold one stimulus.

        Raises:
            InputError: something that isn't there; a stimulus in two sets; one stimulus in a set;
                nobody left to compare.
        """
        _ = self.prompt_sets(), self.task, self.labels
        poles = [("toward", self._poles[0]), ("against", self._poles[1])]
        targets = list(self.targets.items())
        self._require_apart(dataset, [*poles, *targets], tuple)
        self._require_apart(dataset, poles, dict)
        self._require_apart(dataset, targets, dict)
        asked = dataset.table["image_id"].astype(str).isin(self.pictures(dataset)).to_numpy()
        left = asked & ~self._compared_with(dataset)
        if not (left.any() or self.of_words):
            told = f"'{self.task}': every subject is shown in 'toward' or 'against'"
            raise InputError(sentence(told, "Nobody is left to compare; name fewer pictures"))
        for name, of in targets:
            self._require_two(dataset, name, of, left)

    def _require_apart(
        self, dataset: Dataset, named: Sequence[tuple[str, Words | Pictures]], kind: type
    ) -> None:
        """Refuse sets of words, or of pictures, that have a stimulus in common."""
        members = [(n, self._members(dataset, n, of)) for n, of in named if isinstance(of, kind)]
        for (one, a), (other, b) in combinations(members, 2):
            if both := sorted(a & b):
                told = f"'{self.task}': '{both[0]}' is in '{one}' and in '{other}'"
                more = f"{len(both)} stimuli are in both" if len(both) > 1 else None
                raise InputError(sentence(told, more, "A stimulus belongs to one set"))

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The columns that sets of pictures are chosen by."""
        sets = (*self._poles, *self.targets.values())
        return {c: () for of in sets if isinstance(of, dict) for c in of if c != "path"}

    def _members(self, dataset: Dataset, name: str, of: Words | Pictures) -> set[str]:
        """The stimuli of a set: words as they count for 'the same', or image ids."""
        if isinstance(of, tuple):
            return {normalise(label.text) for label in self._labels(of)}
        chosen = self._chosen(dataset, name, of)
        return set(dataset.table.loc[chosen, "image_id"].astype(str))

    def _require_two(self, dataset: Dataset, name: str, of: Words | Pictures, left: Flags) -> None:
        """Refuse a set of fewer than two stimuli; pictures of A or B do not count."""
        members = self._members(dataset, name, of)
        if isinstance(of, dict):
            members &= set(dataset.table.loc[left, "image_id"].astype(str))
        if len(members) < 2:
            number = "one stimulus" if members else "no stimulus"
            told = f"'{self.task}': '{name}' has {number} to compare"
            why = "An effect size needs two in each set, and an interval three"
            raise InputError(sentence(told, why, "Add others to it"))

    def _labels(self, words: Words | Pictures) -> tuple[Label, ...]:
        """Labels by text, by tag, or all of a set by its name, each once; none of pictures."""
        spoken = words if isinstance(words, tuple) else ()
        return tuple({label.text: label for word in spoken for label in self._named(word)}.values())

    def _named(self, word: str) -> list[Label]:
        every = [label for labels in self.sets for label in labels.labels]
        found = [label for labels in self.sets if labels.name == word for label in labels.labels]
        found = found or [label for label in every if word in label.tags]
        found = found or [label for label in every if label.text == word]
        if found:
            return found
        names = [labels.name for labels in self.sets]
        tags = list(dict.fromkeys(tag for label in every for tag in label.tags))
        raise InputError(
            sentence(
                f"association: no label or tag '{word}' in {_quoted(names)}",
                suggest(word, [*tags, *names, *(label.text for label in every)]),
                f"Tags there: {_quoted(tags) or 'none'}; 'clip-audit show {names[0]}' has all",
            )
        )

    def _chosen(self, dataset: Dataset, name: str, of: Pictures) -> Flags:
        """Which pictures of the data set have these values; of ``path``, lie in these folders.

        Raises:
            InputError: no such column, or no picture with a value.
        """
        where = f"'{self.task}': {name}"
        chosen = np.ones(len(dataset.table), np.bool_)
        for column, values in of.items():
            require_column(dataset, column, where)
            present = dataset.texts(column)
            having = [_having(present, value) for value in values]
            for value, rows in zip(values, having, strict=True):
                if not rows.any():
                    known = {p.rpartition("/")[0] for p in present} if column == "path" else present
                    raise no_such_value(dataset, column, value, known, where)
            chosen &= np.logical_or.reduce(having)
        if not chosen.any():
            told = f"{where}: no picture has all of its values"
            raise InputError(sentence(told, "Loosen one of them"))
        return chosen

    def _compared_with(self, dataset: Dataset) -> Flags:
        """Pictures of subjects who are shown in A or B, and so are not compared themselves."""
        shown = np.zeros(len(dataset.table), np.bool_)
        for name, of in zip(("toward", "against"), self._poles, strict=True):
            if isinstance(of, dict):
                shown |= self._chosen(dataset, name, of)
        subjects = dataset.table["cluster_id"]
        return np.asarray(subjects.isin(subjects[shown]).to_numpy(), dtype=np.bool_)

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """One row a picture compared and label: its s; no rows where words are compared.

        Groups are not looked at. All templates are averaged.

        Raises:
            InputError: no picture of A or B could be read.
        """
        if self.of_words:
            return SCORES.empty()
        kept = self._kept(seen)
        ids = pd.Series(np.array(seen.images.keys, dtype=object)[kept], dtype="str")
        labels = pd.Series(self.labels, dtype="str")
        values = self._values(seen, self._directions(seen, self._words(seen.texts)))[kept]
        table = pd.DataFrame(
            {
                "label": labels.repeat(len(ids)).array,
                "image_id": pd.concat([ids] * len(labels)).array,
                "value": values.T.reshape(-1),
            }
        )
        return SCORES.conform(table.assign(probe=self.kind, task=self.task, condition=ENSEMBLE))

    def _kept(self, seen: Seen) -> Flags:
        """Which of the pictures seen are compared."""
        if isinstance(self._poles[0], tuple):
            return np.ones(len(seen.images.keys), np.bool_)
        return ~_of_seen(seen, self._compared_with(seen.dataset))

    def _values(self, seen: Seen, directions: Floats) -> Floats:
        """The s of all pictures in double precision, (n, columns); their vectors are not copied."""
        vectors = seen.images.vectors
        found = np.empty((len(vectors), directions.shape[1]))
        for start in range(0, len(vectors), _BATCH):
            part = slice(start, start + _BATCH)
            found[part] = vectors[part].astype(np.float64) @ directions
        return found

    def _directions(self, seen: Seen, by_text: Mapping[str, Floats]) -> Floats:
        """What takes an embedding to s, (d, labels), with these class embeddings of words."""
        a, b = self._poles
        if isinstance(a, tuple):
            one, other = (_rows(by_text, self._labels(words)) for words in (a, b))
        else:
            one = self._shown(seen, "toward", a)
            other = self._shown(seen, "against", b) if isinstance(b, dict) else _NONE
            one = one if len(other) else one.mean(axis=0, keepdims=True)
        if not len(other):
            return one.T
        in_a = (np.arange(len(one) + len(other)) < len(one))[:, np.newaxis]
        return np.asarray(np.vstack([one, other]).T @ contrast(in_a, ~in_a))

    def _shown(self, seen: Seen, name: str, of: Pictures) -> Floats:
        """Embeddings of the pictures of A or of B."""
        chosen = _of_seen(seen, self._chosen(seen.dataset, name, of))
        if not chosen.any():
            told = (
                f"'{self.task}': {name}: all of its pictures are unreadable or left out by 'only'"
            )
            raise InputError(sentence(told, "Name others"))
        return seen.images.vectors[chosen].astype(np.float64)

    def _words(self, texts: Texts) -> dict[str, Floats]:
        """Class embedding of every label by text, all templates averaged by CLIP's rule."""
        asked = every_wording(self.prompt_sets())
        return {
            text: row
            for labels in self.sets
            for text, row in zip(
                labels.texts, ensemble(class_embeddings(texts, labels, asked)), strict=True
            )
        }

    def _by_template(self, texts: Texts) -> dict[str, dict[str, Floats]]:
        """Embedding of every label by text in every single template, if there are several."""
        asked = every_wording(self.prompt_sets())
        found: dict[str, dict[str, Floats]] = {}
        for labels in self.sets if len(asked) > 1 else ():
            single = class_embeddings(texts, labels, asked).astype(np.float64)
            for wording, rows in zip(asked, single, strict=True):
                by_text = found.setdefault(f"template: {wording.template}", {})
                by_text.update(zip(labels.texts, rows, strict=True))
        return found

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Effect size d of every comparison and label, with the difference that it stands for.

        In the headline condition d has an interval, bounds for all comparisons and labels of the
        attribute at once (Bonferroni's level in each interval), p by dealing subjects anew and q by
        Holm over the same family (``method`` says why where these disagree); under single templates
        it has an interval only and is not judged.
        ``null_low, null_high``: between which d lies when subjects are dealt by chance.
        ``n, subjects``: stimuli in ``group``. Of each attribute and label one comparison is told:
        the surest that exceeds the margin, or else that with the largest upper bound.
        """
        scored = self._scored(rows, seen, design.groups)
        found = [
            row
            for attribute, pairs in self._families(scored, seen, design)
            for row in self._family(attribute, pairs, scored, design)
        ]
        return measured(found, probe=self.kind, task=self.task, level=design.confidence.level)

    def _scored(self, rows: pd.DataFrame, seen: Seen, groups: Groups) -> Scored:
        """Every stimulus in the headline condition, and under every single template."""
        single = self._by_template(seen.texts)
        directions = {name: self._directions(seen, words) for name, words in single.items()}
        if self.of_words:
            return self._scored_words(seen, directions)
        columns = [_column(rows, label, groups) for label in self.labels]
        there = np.isfinite(columns[0])[:, np.newaxis]
        order = groups.at(seen.images.keys)
        for direction in directions.values():
            s = np.empty((len(groups.rows), len(self.labels)))
            s[order] = self._values(seen, direction)
            columns += [*np.where(there, s, np.nan).T]
        questions = [(c, label) for c in (ENSEMBLE, *directions) for label in self.labels]
        return Scored(np.array(columns).T, questions, groups.clusters, len(groups.cluster_ids))

    def _scored_words(self, seen: Seen, directions: Mapping[str, Floats]) -> Scored:
        """The words compared, each a subject of its own."""
        labels = [label for of in self.targets.values() for label in self._labels(of)]
        words = {ENSEMBLE: self._words(seen.texts)} | self._by_template(seen.texts)
        headline = {ENSEMBLE: self._directions(seen, words[ENSEMBLE])}
        values = [_rows(words[c], labels) @ d for c, d in (headline | dict(directions)).items()]
        questions = [(c, label) for c in words for label in self.labels]
        return Scored(np.hstack(values), questions, np.arange(len(labels)), len(labels))

    def _families(
        self, scored: Scored, seen: Seen, design: Design
    ) -> Iterator[tuple[str, list[Pair]]]:
        """What is compared, by attribute."""
        groups, least = design.groups, design.confidence.min_group
        if not self.targets:
            for attribute in groups.attributes:
                yield attribute, _pairs(groups, attribute, self.compare, scored, least)
            return
        sides = np.full(len(scored.s), -1)
        if self.of_words:
            sides = np.repeat([0, 1], [len(self._labels(of)) for of in self.targets.values()])
        for side, (name, of) in enumerate(self.targets.items()):
            if isinstance(of, dict):
                sides[_of_seen(seen, self._chosen(seen.dataset, name, of))] = side
        one, other = self.targets
        yield TARGETS, [Pair(one, other, np.where(scored.there, sides, -1))]

    def _family(
        self, attribute: str, pairs: Sequence[Pair], scored: Scored, design: Design
    ) -> list[Row]:
        """Rows of all comparisons of one attribute, its leading ones with a statement."""
        if not pairs:
            return []
        tested, size = self._tested(pairs, scored, design)
        every = {
            "attribute": attribute,
            "family": f"{self.task}, {EFFECT_SIZE}, by {attribute}",
            "family_size": size,
        }
        rows = [
            every | row
            for test in tested
            for i, question in enumerate(scored.questions)
            for row in self._rows(test, i, *question, size, design.confidence.level)
        ]
        for row, among in _leading(rows):
            row["statement"] = self._statement(row, among, design.confidence.level)
        return rows

    def _tested(
        self, pairs: Sequence[Pair], scored: Scored, design: Design
    ) -> tuple[list[Tested], int]:
        """Every pair with what was found, and the size of their family."""
        c, seed = design.confidence, design.seed
        of = [_sums(pair, scored) for pair in pairs]
        found = [
            associations(o, c.level, self.spread, self.alternative, self.permutations, seed)
            for o in of
        ]
        usable = np.array(
            [
                [pair.status == OK and not reason for reason in f.reasons]
                for pair, f in zip(pairs, found, strict=True)
            ]
        )
        usable &= scored.headline
        size = int(usable.sum())
        q = holm(np.where(usable, [f.p for f in found], np.nan))
        level = float(bonferroni_level(c.level, max(size, 1)))
        bounds = [d_interval(o, level, self.spread)[:2] for o in of]
        chance = [by_chance(o, self.spread, c.level, seed) for o in of]
        joint = np.where(usable[:, np.newaxis], bounds, np.nan)
        tested = [
            Tested(pair, found[i], chance[i], usable[i], joint[i, 0], joint[i, 1], q[i])
            for i, pair in enumerate(pairs)
        ]
        return tested, size

    def _rows(
        self, test: Tested, i: int, condition: str, label: str, size: int, level: float
    ) -> Iterator[Row]:
        """The i-th question put to one pair: d, and the difference of mean s behind it."""
        found, headline, usable = test.found, condition == ENSEMBLE, bool(test.usable[i])
        status, reason = _status(test, i)
        row: Row = {
            "condition": condition,
            "label": label,
            "group": test.pair.group,
            "other": test.pair.other,
            "n": int(found.n[0]),
            "subjects": int(found.subjects[0]),
            "status": status,
            "reason": reason,
            "margin_family": self._margin_family(label),
            "method": self._method(found, size),
        }
        judged = str(verdicts(test.low[i], test.high[i], self.margin))
        yield row | {
            "metric": EFFECT_SIZE,
            "method": row["method"] + self._at_odds(test, i, size, level),
            "unit": "d",
            "value": found.d[i],
            "low": found.low[i],
            "high": found.high[i],
            "low_simultaneous": test.low[i],
            "high_simultaneous": test.high[i],
            **dict(zip(("null_mean", "null_low", "null_high"), test.chance[:, i], strict=True)),
            "p": found.p[i] if usable else np.nan,
            "q": test.q[i],
            "smallest_p": found.smallest_p[i] if usable else np.nan,
            "margin": self.margin,
            "verdict": judged if headline else NOT_JUDGED,
            "harm": self._harm(label),
        }
        if headline:
            beside = {"metric": DIFFERENCE, "unit": "cosine", "value": found.difference[i]}
            yield row | beside | {"verdict": NOT_JUDGED}

    def _method(self, found: Associations, size: int) -> str:
        """How d, its bounds and p were made."""
        (n, n_other), (m, m_other) = found.n, found.subjects
        deals = f"{found.permutations:,} deals"
        p = f"p {self.alternative}, studentised, "
        p += f"exact, all {deals}" if found.exact else deals
        return (
            f"{n} v {n_other} stimuli of {m} v {m_other} subjects; {self.spread} standard "
            f"deviation; jackknife over subjects, Bonferroni over {size}; "
            f"{f'no p: {found.no_p}' if found.no_p else p}"
        )

    def _at_odds(self, test: Tested, i: int, size: int, level: float) -> str:
        """Why q and the simultaneous bounds disagree on whether d is 0, where they do."""
        alpha, q, p = 1 - level, test.q[i], test.found.p[i]
        if np.isnan(q) or np.isnan(test.low[i]):
            return ""
        apart = not test.low[i] <= 0 <= test.high[i]
        if apart == bool(q <= alpha):
            return ""
        if apart:
            why = "both are near their limits, by different methods"
            if test.found.smallest_p[i] * size > alpha:
                why = "so few deals allow no smaller q"
            elif self.alternative == "greater" and test.found.d[i] < 0:
                why = "p asks for larger d only"
            return f"{AT_ODDS}the bounds exclude 0 and q is {q:.2g}: {why}"
        why = "both are near their limits, by different methods"
        if self.alternative == "greater":
            why = "p asks for larger d only, the bounds for both sides"
        elif p * size > alpha:
            why = "q steps down by Holm, which bounds can't"
        return f"{AT_ODDS}q is {q:.2g} and the bounds include 0: {why}"

    def _behind(self, label: str) -> tuple[Label, ...]:
        """The labels behind a question: all of A and B, or the one asked alone."""
        a, b = map(self._labels, self._poles)
        return (*a, *b) if b else tuple(x for x in a if x.text == label)

    def _harm(self, label: str) -> str:
        """The harm that these labels state, blank where none or several are stated."""
        harms = {str(x.harm) for x in self._behind(label) if x.harm}
        return harms.pop() if len(harms) == 1 else ""

    def _margin_family(self, label: str) -> str:
        """The family of these labels, where all that have one share it."""
        behind = self._behind(label)
        found = {margin_family(x.tags, s) for s in self.sets for x in behind if x in s.labels}
        found -= {DEFAULT_FAMILY}
        return found.pop() if len(found) == 1 else DEFAULT_FAMILY

    def _statement(self, row: Row, among: int, level: float) -> str:
        """One comparison in words, with its bounds, what chance gives, and verdict."""
        a, b = self._poles
        lean = (
            f"leans from {_in_words(b)} towards {_in_words(a)}"
            if b
            else f"leans towards {_in_words(a)}"
        )
        if not b and isinstance(a, tuple):
            lean = f"leans towards '{row['label']}'"
        asked = f"Asked '{self.task}', the model {lean}"
        if row["status"] != OK:
            by = "" if row["attribute"] == TARGETS else f" by {row['attribute']}"
            return f"{asked}; how far can't be compared{by}: {row['reason']}; inconclusive."
        bounds = f"{row['low_simultaneous']:z.2f} to {row['high_simultaneous']:z.2f}"
        chosen = "surest" if row["verdict"] == EXCEEDS else "least surely within the margin"
        surest = f", the {chosen} of {among} comparisons" if among > 1 else ""
        return (
            f"{asked} {'more' if row['value'] >= 0 else 'less'} for {self._whom(row)}: effect size "
            f"d = {row['value']:z.2f}{surest} ({100 * level:.0f} % simultaneous bounds {bounds}; "
            f"by chance {row['null_low']:z.2f} to {row['null_high']:z.2f}); {_said(row)}"
            f"{_resolution(row, level)}."
        )

    def _whom(self, row: Row) -> str:
        """Whom a comparison is about."""
        if row["attribute"] == TARGETS:
            what = "words" if self.of_words else "pictures"
            return f"the {row['n']} {what} of '{row['group']}' than for those of '{row['other']}'"
        other = "for all others" if row["other"] == REST else f"for those with {row['other']}"
        return f"the {row['n']:,} pictures with {row['attribute']} {row['group']} than {other}"


def by_chance(of: Sums, spread: Spread, level: float, seed: int) -> Floats:
    """Where d lies when whole subjects are dealt anew to both sets in their numbers.

    The spread over both sets stays as it is, whoever is in which, so only the difference moves.
    Range: around 0; of sets of n and m single stimuli about ``± 1.96 sqrt(1 / n + 1 / m)`` at 95 %.

    Args:
        of: sums over clusters.
        spread: ``sample`` or ``population``, as for d.
        level: share of the deals between low and high.
        seed: of the deals.

    Returns:
        Mean, low and high over at most ``DEALS`` deals, (3, questions); nan where nothing can be
        dealt.
    """
    there = of.n.any(axis=1)
    n, total = of.n[there], of.total[there].sum(axis=1)
    nothing = np.full((3, total.shape[1]), np.nan)
    if not n.any(axis=0).all() or (n > 0).all(axis=1).any():
        return nothing
    code = (n[:, 1] > 0).astype(np.int64)
    deals = dealt_sums(total, n.sum(axis=1), code, np.zeros_like(code), 2, DEALS, seed)
    if deals.reason:
        return nothing
    size = n.sum()
    variance = of.squares.sum(axis=(0, 1)) / size - (total.sum(axis=0) / size) ** 2
    variance *= size / (size - 1) if spread == "sample" else 1.0
    means = np.concatenate([block[..., :-1] / block[..., -1:] for block in deals.sums])
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (means[:, 0] - means[:, 1]) / np.sqrt(np.where(variance > 0, variance, np.nan))
    outer = np.quantile(d, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.vstack([d.mean(axis=0), outer])


def _column(rows: pd.DataFrame, label: str, groups: Groups) -> Floats:
    """One label's rows of SCORES as a number a picture, nan where there is none."""
    part = rows[rows["label"] == label]
    s = np.full(len(groups.rows), np.nan)
    s[groups.at(part["image_id"])] = part["value"]
    return s


def _pairs(groups: Groups, attribute: str, compare: str, scored: Scored, least: int) -> list[Pair]:
    """Each group of an attribute with everyone else of known group, or all pairs of groups."""
    at = groups.columns(attribute)
    names = [str(groups.index[i][1]) for i in at]
    member = groups.member[:, at] & scored.there[:, np.newaxis]
    code = np.where(member.any(axis=1), member.argmax(axis=1), -1)
    if len(at) == 2 or compare == "pairs":
        found = list(combinations(range(len(at)), 2))
        sides = [np.select([code == i, code == j], [0, 1], -1) for i, j in found]
        called = [(names[i], names[j]) for i, j in found]
    else:
        sides = [np.select([code == i, code >= 0], [0, 1], -1) for i in range(len(at))]
        called = [(name, REST) for name in names]
    return [
        Pair(*both, side, *_standing(both, side, scored, least))
        for both, side in zip(called, sides, strict=True)
    ]


def _standing(
    names: tuple[str, str], sides: Integers, scored: Scored, least: int
) -> tuple[str, str]:
    """Status and reason of a comparison of two groups; the rest counts whoever there is."""
    n = np.array([[(sides == side).sum() for side in (0, 1)]])
    subjects = np.array([[len(np.unique(scored.clusters[sides == side])) for side in (0, 1)]])
    each = [
        standing(n[:, i : i + 1], subjects[:, i : i + 1], 2 if name == REST else least)
        for i, name in enumerate(names)
    ]
    both = np.hstack([s for s, _ in each]), np.hstack([r for _, r in each])
    status, reason = joint_status(names, both, np.array([0]), np.array([1]))
    return str(status[0, 0]), str(reason[0, 0])


def _sums(pair: Pair, scored: Scored) -> Sums:
    there = pair.sides >= 0
    return sums(scored.s[there], pair.sides[there], scored.clusters[there], scored.number)


def _status(test: Tested, i: int) -> tuple[str, str]:
    """Why the i-th value is missing or has no bounds, if it is or hasn't."""
    pair, found = test.pair, test.found
    if pair.status != OK:
        return pair.status, pair.reason
    if found.reasons[i]:
        return TOO_FEW if found.n.min() < 2 else UNDEFINED, found.reasons[i]
    if found.no_interval[i]:
        return TOO_FEW if found.subjects.min() < 3 else UNDEFINED, found.no_interval[i]
    return OK, ""


def _leading(rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """The comparison to tell of each label, and of how many.

    The surest that exceeds the margin; where none does, that with the largest upper bound: if it
    is within the margin, so are all others.
    """
    headline = [r for r in rows if r["condition"] == ENSEMBLE and r["metric"] == EFFECT_SIZE]
    for label in dict.fromkeys(r["label"] for r in headline):
        these = [r for r in headline if r["label"] == label]
        usable = [r for r in these if r["status"] == OK]
        yield (max(usable, key=_surest) if usable else these[0]), len(usable)


def _surest(row: Row) -> tuple[bool, float]:
    ends = np.array(row["low_simultaneous"]), np.array(row["high_simultaneous"])
    least, most = (float(end) for end in size_bounds(*ends))
    large = row["verdict"] == EXCEEDS
    return large, least if large else most


def _said(row: Row) -> str:
    """The verdict in words."""
    margin = f"{row['margin']:g}"
    return Verdict(row["verdict"]).against(margin, "no two sets differ by {margin} or more")


def _resolution(row: Row, level: float) -> str:
    """That no answer could have had a small p, where all deals were gone through."""
    least, size = row["smallest_p"], row["family_size"]
    if not (", exact, " in row["method"] and least * size > 1 - level):
        return ""
    holm_ = f", or {min(1.0, least * size):.2g} by Holm over {size}" if size > 1 else ""
    return f"; so few can be dealt anew that p is never below {least:.2g}{holm_}"


def _rows(by_text: Mapping[str, Floats], labels: Iterable[Label]) -> Floats:
    """Class embeddings of these labels, unit rows."""
    found = [by_text[label.text] for label in labels]
    return np.stack(found) if found else _NONE


def _of_seen(seen: Seen, of_dataset: Flags) -> Flags:
    """Flags of the data set's pictures as flags of those seen, in their order."""
    index = pd.Index(seen.dataset.table["image_id"].astype(str))
    return np.asarray(of_dataset[index.get_indexer(pd.Index(list(seen.images.keys)))])


def _having(present: pd.Series[str], value: str) -> Flags:
    """Which rows have this value; of the column ``path``, lie in this folder."""
    there = present == value
    if present.name == "path":
        there |= present.str.startswith(value.rstrip("/") + "/")
    return there.to_numpy(dtype=np.bool_)


def _called(of: Words | Pictures, most: int = 3) -> str:
    """A set in a few words."""
    if isinstance(of, dict):
        told = [f"{column} {' or '.join(values)}" for column, values in of.items()]
        return " and ".join(t.removeprefix("path ") for t in told)
    more = [f"{len(of) - most} more"] if len(of) > most else []
    return ", ".join([*of[:most], *more])


def _in_words(of: Words | Pictures) -> str:
    """A set in a sentence."""
    if isinstance(of, dict):
        return f"pictures of '{_called(of)}'"
    return " and ".join(f"'{word}'" for word in _called(of).split(", "))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


__all__ = [
    "AT_ODDS",
    "DIFFERENCE",
    "EFFECT_SIZE",
    "TARGETS",
    "Association",
    "Pair",
    "Scored",
    "by_chance",
]
