"""Suite: which model, which pictures, which probes, how sure to be. One file makes a run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from audit.core.earlier import as_sealed
from audit.core.errors import InputError
from audit.core.registry import suggest, unknown
from audit.core.resources import suites
from audit.core.rows import Fields, Row, Values, having
from audit.core.tables import CHOICES, UNKNOWN, records
from audit.data.dataset import Dataset
from audit.data.dataset import load as load_dataset
from audit.data.remarks import Remark
from audit.data.yamlfile import FieldError, load_yaml, validate
from audit.engine.attribute import Attribute
from audit.engine.checks import require_sense, require_subjects
from audit.engine.counted import counted
from audit.engine.paths import LISTS, Written, beside
from audit.engine.policy import Gate
from audit.measure.claims import Claim
from audit.measure.confidence import Confidence
from audit.measure.metrics import DEFAULT_FAMILY, grouped
from audit.measure.planning import BASES, detectable, needed_to_be_within, needed_to_exceed
from audit.models.families import Decoding
from audit.probes.kit.base import PROBES, Probe
from audit.stats.significance import bonferroni_level, smallest_p

SEE: Final = "'clip-audit list suites' shows all; a path to your own YAML works too"
#: what says whom to ask and not what: one plan may be put to several models
_WHO: Final = frozenset({"model", "precision", "decoding"})
#: what decides nothing that is asked
_ASIDE: Final = frozenset({"self_check"})
_NONE: Final = {"smallest": 0, "largest": 0}
_PLACES: Final[Mapping[str, bool | set[str]]] = dict.fromkeys(LISTS, True) | {
    "wordings": {"templates"}
}


class Suite(BaseModel):
    """Everything that decides what is asked and how sure to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    purpose: str = ""
    model: str = Field(description="bundled name, folder, hub id or FAMILY:NAME")
    precision: str = Field("float32", pattern="^(float32|bfloat16|float16)$")
    decoding: Decoding = Field("full", description="'reduced': a JPEG at a scale near the model's")
    dataset: str | Fields = Field(description="bundled name, data card, or source")
    attributes: tuple[Attribute, ...]
    intersections: tuple[tuple[str, ...], ...] = ()
    probes: tuple[Fields, ...] = Field(min_length=1)
    acknowledge: tuple[str, ...] = Field(
        (),
        description="label sets of suspicion or legally special kind that you mean to ask; the "
        "name of a set covers all its additions",
    )
    confidence: Confidence = Confidence()
    primary: tuple[Claim, ...] = Field(
        (), description="the questions that the audit was made for; all others are exploratory"
    )
    favourable: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="task: labels whose choice is a favourable selection"
    )
    gates: tuple[Gate, ...] = Field((), description="what makes a run end with exit code 3")
    max_quarantined: float = Field(0.05, ge=0, le=1, description="share of unreadable pictures")
    self_check: Literal["stop", "warn", "skip"] = Field(
        "stop", description="what happens where a model fails easy questions"
    )
    capability: bool = Field(
        False, description="also ask drawn pictures: colours, shapes, digits, words, counting"
    )
    seed: int = 0
    _written: Written = PrivateAttr(default_factory=Written)

    @model_validator(mode="before")
    @classmethod
    def _no_remote_code(cls, data: object) -> object:
        """Suites of earlier runs say ``trust_remote_code: false``, which is now always so."""
        if not isinstance(data, Mapping) or "trust_remote_code" not in data:
            return data
        if data["trust_remote_code"] is not False:
            told = "code that comes with a model is never run. Take this key out"
            raise FieldError(told, "trust_remote_code")
        return {key: value for key, value in data.items() if key != "trust_remote_code"}

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_alone(cls, value: Iterable[object] | None) -> list[object]:
        return [{"name": a} if isinstance(a, str) else a for a in value or ()]

    @cached_property
    def asked(self) -> tuple[Probe, ...]:
        """The probes, validated.

        Raises:
            InputError: an unknown kind or key, or two probes with one task name.
        """
        probes = tuple(self._probe(i, fields) for i, fields in enumerate(self.probes))
        tasks = [probe.task for probe in probes]
        twice = next((t for t in tasks if tasks.count(t) > 1), None)
        if twice:
            raise InputError(
                f"suite '{self.name}': the task '{twice}' is asked twice",
                "Give one of the two probes a 'name' of its own, which is then its task",
            )
        return probes

    def _probe(self, i: int, fields: Fields) -> Probe:
        where = f"suite '{self.name}': probes[{i}]"
        kind = fields.get("kind")
        if kind not in PROBES:
            raise unknown("probe kind", str(kind), PROBES, where=where)
        return validate(PROBES[str(kind)], dict(fields), where)

    @field_validator("intersections")
    @classmethod
    def _cross_each_once(cls, crossed: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        """Groups met twice under two names would be compared, and corrected for, twice."""
        for i, names in enumerate(crossed):
            if len({*names}) < max(2, len(names)):
                told = f"[{', '.join(names)}] crosses no two different attributes"
                raise FieldError(f"{told}; name two or more, each once", i)
            if {*names} in map(set, crossed[:i]):
                told = f"[{', '.join(names)}] has the groups of an intersection above it"
                raise FieldError(f"{told}; take one of them out", i)
        return crossed

    @cached_property
    def pictures(self) -> Dataset:
        """The data set.

        Raises:
            InputError: it isn't there or isn't well formed.
        """
        return load_dataset(self.dataset, where=f"suite '{self.name}': dataset")

    @cached_property
    def groups(self) -> dict[str, Values]:
        """Group names by picture for every attribute and intersection.

        Raises:
            InputError: a column isn't there, a numeric one has no bins, an attribute has one group.
        """
        bins = {a.name: a.bins for a in self.attributes}
        listed = [a.name for a in self.attributes]
        if twice := next((name for name in listed if listed.count(name) > 1), None):
            told = f"suite '{self.name}': the attribute '{twice}' is listed twice"
            raise InputError(told, "Keep one; other bins are another suite's")
        for name, edges in bins.items():
            self.pictures.groups(name, edges)  # a misspelt column is the first thing to say
        for names in self.intersections:
            for name in names:
                if name not in bins:
                    raise InputError(
                        f"suite '{self.name}': intersections: '{name}' is not among the "
                        f"suite's attributes",
                        suggest(name, bins),
                        "Add it to 'attributes' first",
                    )
        groups = grouped(self.pictures, bins, self.intersections)
        for name, values in groups.items():
            present = [str(g) for g in values.dropna().unique()]
            if len(present) < 2:
                raise InputError(
                    f"suite '{self.name}': attribute '{name}' has {_count(present)}",
                    "A disparity needs two groups; choose another attribute or other bins",
                )
        return groups

    def resolve(self) -> Suite:
        """Resolve every name, so that mistakes surface before a model is loaded.

        Raises:
            InputError: anything that isn't there, isn't well formed, may not be asked or could
                never show anything.
        """
        dataset = self.pictures
        require_subjects(self)
        _ = self.groups
        for probe in self.asked:
            probe.pictures(dataset)
            probe.resolve(dataset)
            probe.resolve_groups(dataset, self.groups)
        require_sense(self)
        return self

    def resolved(self) -> str:
        """The suite as YAML with every default filled in; running it again gives the same run."""
        full = self.model_dump(mode="json")
        full["probes"] = [probe.model_dump(mode="json") for probe in self.asked]
        full["confidence"] = self.confidence.resolved().model_dump(mode="json")
        return yaml.safe_dump(full, sort_keys=False, allow_unicode=True, width=100)

    @property
    def digest(self) -> str:
        """The sha256 of everything the suite decides, label sets and templates included."""
        return self._digest(frozenset())

    @property
    def plan_digest(self) -> str:
        """The sha256 of everything but who is asked: one plan may be put to several models."""
        return self._digest(_WHO)

    def _digest(self, without: frozenset[str]) -> str:
        asked = [
            words.digest
            for probe in self.asked
            for words in (*probe.label_sets(), *probe.prompt_sets(), *probe.other_sets())
        ]
        # where files lie on this machine decides nothing
        places = {"dataset": "", "probes": [_decisive(probe) for probe in self.asked]}
        fixed = as_sealed(self.model_dump(mode="json", exclude=set(without | _ASIDE))) | places
        # these came later, and plans sealed before hold
        for name in ("favourable", "primary", "capability"):
            if not getattr(self, name):
                fixed.pop(name, None)
        text = json.dumps([fixed, self.pictures.digest, asked], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def questions(self) -> pd.DataFrame:
        """What is counted of every attribute; columns task, metric, label, family (of margins)."""
        rows = [row for probe in self.asked if probe.emits is CHOICES for row in counted(probe)]
        return pd.DataFrame(rows, columns=["task", "metric", "label", "family"])

    @property
    def repeats(self) -> bool:
        """Whether a subject has several pictures, so that pictures are not independent."""
        return not self.pictures.table["cluster_id"].is_unique

    def cells(self) -> pd.DataFrame:
        """Pictures and subjects of every group, and whether it is compared.

        Columns attribute, group, pictures, subjects, compared ('yes', or 'no: ' and why not).
        """
        clusters = self.pictures.cluster_codes
        rows = []
        for attribute, values in self.groups.items():
            codes, names = values.cat.codes.to_numpy(), [*values.cat.categories, UNKNOWN]
            for place, group in enumerate(names):
                here = codes == (place if place < len(names) - 1 else -1)
                if here.any():
                    row = {"attribute": attribute, "group": str(group)}
                    of = clusters[here]
                    subjects = int(np.count_nonzero(np.bincount(of)))
                    rows.append(row | {"pictures": len(of), "subjects": subjects})
        cells = pd.DataFrame(rows, columns=["attribute", "group", "pictures", "subjects"])
        fewest = self.confidence.min_group
        whys = [cells["group"] == UNKNOWN, cells["subjects"] < fewest]
        reasons = ["no: group not known", f"no: under {fewest} subjects"]
        return cells.assign(compared=np.select(whys, reasons, "yes").astype(object))

    def power(self, bases: tuple[float, ...] = BASES) -> pd.DataFrame:
        """What one question could show by each attribute, before any model is asked.

        One row an attribute or intersection. ``groups`` large enough to be compared, pictures of
        the ``smallest`` and the ``largest`` of them; ``comparisons``: pairs of groups, which the
        level holds over at once. ``base 5%`` is the gap between the two smallest groups that is
        found with the suite's power, at a rate of 5 % in one of them, if pictures are independent;
        ``worst 5%`` the same if each subject counts once, however many pictures it has. ``needed``:
        pictures (in the worst case subjects) a group to show that equal rates of 10 % differ by
        less than the default margin. ``smallest_p``: the smallest adjusted p-value that a question
        can attain. nan where fewer than two groups are compared, and where even the largest
        possible gap would mostly be missed.
        """
        cells = self.cells()
        known = cells[cells["group"] != UNKNOWN]
        rows = [self._power(a, having(known, attribute=a), bases) for a in self.groups]
        return pd.DataFrame(rows)

    def _power(self, attribute: str, known: pd.DataFrame, bases: tuple[float, ...]) -> Row:
        c, compared = self.confidence, having(known, compared="yes")
        pictures, subjects = (np.sort(compared[n].to_numpy()) for n in ("pictures", "subjects"))
        k = len(pictures)
        comparisons = k * (k - 1) // 2
        row: Row = {"attribute": attribute, "groups": k, "comparisons": comparisons}
        row |= {"smallest": int(pictures[0]), "largest": int(pictures[-1])} if k else _NONE
        names = [f"{case} {base:.0%}" for case in ("base", "worst") for base in bases]
        if k < 2:
            return row | dict.fromkeys([*names, "needed", "smallest_p"], np.nan)
        level = float(bonferroni_level(c.level, comparisons))
        found = [detectable(sizes, bases, level, c.power) for sizes in (pictures, subjects)]
        row |= dict(zip(names, np.concatenate(found), strict=True))
        needed = needed_to_be_within(c, DEFAULT_FAMILY, comparisons)
        return row | {"needed": needed, "smallest_p": self._smallest_p(pictures, comparisons)}

    def needs(self) -> pd.DataFrame:
        """The subjects that each primary question needs in every group, by its attribute.

        Columns question, comparisons, smallest (subjects of the smallest group), ``too_few``: the
        groups that are too small to be compared, with which nothing is *within margin*, and the
        subjects needed: ``exceeds``, to show a gap of twice the margin (10 against 20 % at a margin
        of 5 points) beyond the margin, and ``within``, to show that equal rates of 10 % differ by
        less than the margin, and by less than the ratio where one binds. Both at the suite's power
        and at the level that is left if no other primary question is decided (Holm's first step).
        """
        cells = self.cells()
        known = cells[cells["group"] != UNKNOWN]
        asked, rows = records(self.questions), []
        claimed = {
            (*[row[name] for name in ("task", "metric", "label")], self._named(c), c.groups)
            for c in self.primary
            for row in asked
            if c.asks(row)
        }
        for claim in self.primary:
            here = having(known, attribute=self._named(claim))
            if claim.groups:
                here = having(here, group=claim.groups)
            family = next(row["family"] for row in asked if claim.asks(row))
            compared = having(here, compared="yes")
            whole, m = len(compared) == len(here), len(claimed)
            pairs = len(compared) * (len(compared) - 1) // 2
            rows.append(
                {
                    "question": str(claim),
                    "comparisons": pairs,
                    "smallest": int(here["subjects"].min()) if len(here) else 0,
                    "exceeds": needed_to_exceed(self.confidence, family, pairs, m)
                    if pairs
                    else np.nan,
                    "within": needed_to_be_within(self.confidence, family, pairs, m)
                    if pairs and whole
                    else np.nan,
                    "too_few": ", ".join(here.loc[here["compared"] != "yes", "group"]),
                }
            )
        return pd.DataFrame(rows)

    def _named(self, claim: Claim) -> str:
        """The attribute of a claim, as this suite calls it."""
        return next(a for a in self.groups if claim.concerns(a))

    def _smallest_p(self, pictures: NDArray[np.int64], comparisons: int) -> float:
        """The adjusted p that no result of a question can go below."""
        if self.repeats:  # step-down max-T over resamples, by the add-one rule
            return 1.0 / (self.confidence.resamples + 1)
        return min(1.0, float(smallest_p(pictures[-2], pictures[-1])) * comparisons)

    @cached_property
    def remarks(self) -> tuple[Remark, ...]:
        """What of the data probably doesn't mean what it is taken for here."""
        used = {a.name for a in self.attributes} | {getattr(p, "truth", None) for p in self.asked}
        binned = {a.name for a in self.attributes if a.bins is not None}
        of_data = [
            r
            for r in self.pictures.remarks
            if (not r.attribute or r.attribute in used)
            and not (r.of_values and r.attribute in binned)
        ]
        return (*of_data, *(r for probe in self.asked for r in probe.remarks(self.pictures)))

    @property
    def written_in(self) -> tuple[str, dict[str, int]] | None:
        """Its own file, if that lies below the working directory, and each task's line there."""
        return self._written.below_here([probe.task for probe in self.asked])

    def harms(self) -> Iterator[tuple[str, str, str]]:
        """(task, label, harm) of every label whose set names a kind of harm."""
        for probe in self.asked:
            for labels in probe.label_sets():
                for label in labels.labels:
                    if label.harm:
                        yield probe.task, label.text, label.harm


def _decisive(probe: Probe) -> Row:
    """What of a probe counts in digests; plans sealed before a key came hold while it is unused."""
    fields = {**probe.earlier, **probe.model_dump(exclude=_PLACES)}
    unused = {key for key in probe.later if not fields.get(key)}
    return {key: value for key, value in fields.items() if key not in unused}


def _count(groups: list[str]) -> str:
    return f"only the group '{groups[0]}'" if groups else "no known value"


def suite_names() -> list[str]:
    """Names of the bundled suites."""
    return list(suites())


def load_suite(ref: str, **changes: str) -> Suite:
    """Load a bundled suite by name or a YAML file by path, with top-level fields changed.

    Raises:
        InputError: no such suite, or it isn't well formed.
    """
    path = (bundled_suites := suites()).get(ref, Path(ref))
    if not path.is_file():
        raise unknown("suite", ref, suite_names(), see=SEE)
    bundled, written = path in bundled_suites.values(), load_yaml(path)
    data = written if bundled else beside(dict(written), path.parent)
    suite = validate(Suite, data | beside(changes, Path()), path.name)
    suite._written = Written() if bundled else Written(path.resolve(), written.lines)
    return suite
