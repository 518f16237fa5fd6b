"""Association: do pictures of one group lean towards some words, or pictures, more than others?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field, model_validator

from audit.core.arrays import Flags, Floats
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import having
from audit.core.tables import ENSEMBLE, SCORES
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
from audit.measure.metrics import Groups
from audit.measure.prompts import class_embeddings, ensemble, every_wording
from audit.probes.association.names import TARGETS
from audit.probes.association.rows import Compared
from audit.probes.association.stimuli import Pictures, Stimuli, Words, called, several
from audit.probes.association.tested import Pair, Scored, pairs_of
from audit.probes.kit.base import Design, Probe, Seen, Texts, no_such_value, require_column
from audit.stats.association import (
    Alternative,
    Spread,
    contrast,
)

#: pictures scored at a time, so that their embeddings are never all copied
_BATCH: Final = 8192
_NONE: Final = np.empty((0, 0))


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
    label_set: Annotated[Words, BeforeValidator(several)] = Field(
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
        a, b = self.poles
        of = ", ".join(labels.name for labels in self.sets) or "pictures"
        targets = " v ".join(self.targets)
        what = f"{called(a)} v {called(b)}" if b else called(a)
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
    def poles(self) -> tuple[Words | Pictures, Words | Pictures]:
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
        if self.of_words or isinstance(self.poles[0], tuple):
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
        a, b = self.poles
        if isinstance(a, tuple) and not b:
            return tuple(label.text for label in self.words_of(a))
        return (f"{called(a)} v {called(b)}" if b else called(a),)

    def resolve(self, dataset: Dataset) -> None:
        """Resolve every word, column and folder; refuse sets that overlap or hold one stimulus.

        Raises:
            InputError: something that isn't there; a stimulus in two sets; one stimulus in a set;
                nobody left to compare.
        """
        _ = self.prompt_sets(), self.task, self.labels
        poles = [("toward", self.poles[0]), ("against", self.poles[1])]
        targets = list(self.targets.items())
        self._require_apart(dataset, [*poles, *targets], tuple)
        self._require_apart(dataset, poles, dict)
        self._require_apart(dataset, targets, dict)
        asked = dataset.table["image_id"].astype(str).isin(self.pictures(dataset)).to_numpy()
        left = asked & ~self._compared_with(dataset)
        if not (left.any() or self.of_words):
            told = f"'{self.task}': every subject is shown in 'toward' or 'against'"
            raise InputError(told, "Nobody is left to compare; name fewer pictures")
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
                raise InputError(told, more, "A stimulus belongs to one set")

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The columns that sets of pictures are chosen by."""
        sets = (*self.poles, *self.targets.values())
        return {c: () for of in sets if isinstance(of, dict) for c in of if c != "path"}

    def _members(self, dataset: Dataset, name: str, of: Words | Pictures) -> set[str]:
        """The stimuli of a set: words as they count for 'the same', or image ids."""
        if isinstance(of, tuple):
            return {normalise(label.text) for label in self.words_of(of)}
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
            raise InputError(told, why, "Add others to it")

    def words_of(self, words: Words | Pictures) -> tuple[Label, ...]:
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
            f"association: no label or tag '{word}' in {_quoted(names)}",
            suggest(word, [*tags, *names, *(label.text for label in every)]),
            f"Tags there: {_quoted(tags) or 'none'}; 'clip-audit show {names[0]}' has all",
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
            raise InputError(told, "Loosen one of them")
        return chosen

    def _compared_with(self, dataset: Dataset) -> Flags:
        """Pictures of subjects who are shown in A or B, and so are not compared themselves."""
        shown = np.zeros(len(dataset.table), np.bool_)
        for name, of in zip(("toward", "against"), self.poles, strict=True):
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
        if isinstance(self.poles[0], tuple):
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
        a, b = self.poles
        if isinstance(a, tuple):
            one, other = (_rows(by_text, self.words_of(words)) for words in (a, b))
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
            raise InputError(told, "Name others")
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
        compared = Compared(self, scored, design)
        found = [
            row
            for attribute, pairs in self._families(scored, seen, design)
            for row in compared.rows(attribute, pairs)
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
        labels = [label for of in self.targets.values() for label in self.words_of(of)]
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
                yield attribute, pairs_of(groups, attribute, self.compare, scored, least)
            return
        sides = np.full(len(scored.s), -1)
        if self.of_words:
            sides = np.repeat([0, 1], [len(self.words_of(of)) for of in self.targets.values()])
        for side, (name, of) in enumerate(self.targets.items()):
            if isinstance(of, dict):
                sides[_of_seen(seen, self._chosen(seen.dataset, name, of))] = side
        one, other = self.targets
        yield TARGETS, [Pair(one, other, np.where(scored.there, sides, -1))]


def _column(rows: pd.DataFrame, label: str, groups: Groups) -> Floats:
    """One label's rows of SCORES as a number a picture, nan where there is none."""
    part = having(rows, label=label)
    s = np.full(len(groups.rows), np.nan)
    s[groups.at(part["image_id"])] = part["value"]
    return s


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


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
