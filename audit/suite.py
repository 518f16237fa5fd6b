"""Suite: which model, which pictures, which probes, how sure to be. One file makes a run again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from audit.data.dataset import Dataset
from audit.data.dataset import load as load_dataset
from audit.data.yamlfile import load_yaml, validate
from audit.disparity import Confidence
from audit.errors import InputError, sentence
from audit.metrics import DEFAULT_FAMILY, UNKNOWN, grouped, named
from audit.probes import PROBES, Probe
from audit.registry import suggest, unknown
from audit.resources import bundled, bundled_names
from audit.stats.power import detectable_difference, needed_n_for_margin
from audit.stats.significance import bonferroni_level

SEE: Final = "'clip-audit list suites' shows all; a path to your own YAML works too"


class Attribute(BaseModel):
    """A column to group pictures by; a numeric one needs bin edges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bins: tuple[float, ...] | None = Field(None, description="edges: [18, 35] gives three groups")


class Suite(BaseModel):
    """Everything that decides what is asked and how sure to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    purpose: str = ""
    model: str = Field(description="bundled name, folder or hub id of a CLIP model")
    precision: str = Field("float32", pattern="^(float32|bfloat16|float16)$")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    dataset: str = Field(description="bundled name or path of a data card")
    attributes: tuple[Attribute, ...] = Field(min_length=1)
    intersections: tuple[tuple[str, ...], ...] = ()
    probes: tuple[Mapping[str, Any], ...] = Field(min_length=1)
    acknowledge: tuple[str, ...] = Field(
        (), description="label sets of suspicion or legally special kind that you mean to ask"
    )
    confidence: Confidence = Confidence()
    max_quarantined: float = Field(0.05, ge=0, le=1, description="share of unreadable pictures")
    seed: int = 0

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
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
                sentence(
                    f"suite '{self.name}': the task '{twice}' is asked twice",
                    "Ask each label set once; templates and additions make conditions and tasks",
                )
            )
        return probes

    def _probe(self, i: int, fields: Mapping[str, Any]) -> Probe:
        where = f"suite '{self.name}': probes[{i}]"
        kind = fields.get("kind")
        if kind not in PROBES:
            raise unknown("probe kind", str(kind), PROBES, where=where)
        return validate(PROBES[str(kind)], dict(fields), where)

    @cached_property
    def pictures(self) -> Dataset:
        """The data set.

        Raises:
            InputError: it isn't there or isn't well formed.
        """
        return load_dataset(self.dataset, where=f"suite '{self.name}': dataset")

    @cached_property
    def groups(self) -> dict[str, pd.Series[Any]]:
        """Group names by picture for every attribute and intersection.

        Raises:
            InputError: a column isn't there, a numeric one has no bins, an attribute has one group.
        """
        bins = {a.name: a.bins for a in self.attributes}
        for name, edges in bins.items():
            self.pictures.groups(name, edges)  # a misspelt column is the first thing to say
        for names in self.intersections:
            for name in names:
                if name not in bins:
                    raise InputError(
                        sentence(
                            f"suite '{self.name}': intersections: '{name}' is not among the "
                            f"suite's attributes",
                            suggest(name, bins),
                            "Add it to 'attributes' first",
                        )
                    )
        groups = grouped(self.pictures, bins, self.intersections)
        for name, values in groups.items():
            present = [str(g) for g in values.dropna().unique()]
            if len(present) < 2:
                raise InputError(
                    sentence(
                        f"suite '{self.name}': attribute '{name}' has {_count(present)}",
                        "A disparity needs two groups; choose another attribute or other bins",
                    )
                )
        return groups

    def resolve(self) -> Suite:
        """Resolve every name, so that mistakes surface before a model is loaded.

        Raises:
            InputError: anything that isn't there, isn't well formed or may not be asked.
        """
        dataset = self.pictures
        _ = self.groups
        for probe in self.asked:
            probe.resolve(dataset)
        self._require_care()
        return self

    def _require_care(self) -> None:
        """Suspicion labels only where they are meant, with a basis, and never on named people."""
        for probe in self.asked:
            for labels in probe.label_sets():
                if not labels.needs_acknowledgement:
                    continue
                if labels.name not in self.acknowledge:
                    raise InputError(
                        sentence(
                            f"suite '{self.name}': label set '{labels.name}' calls people suspect",
                            "If you mean to ask it, add its name under 'acknowledge:' in the suite",
                        )
                    )
                refusal = self.pictures.refuse_suspicion()
                if refusal:
                    raise InputError(f"label set '{labels.name}' is refused: {refusal}")

    def resolved(self) -> str:
        """The suite as YAML with every default filled in; running it again gives the same run."""
        full = self.model_dump(mode="json")
        full["probes"] = [probe.model_dump(mode="json") for probe in self.asked]
        return yaml.safe_dump(full, sort_keys=False, allow_unicode=True, width=100)

    @property
    def digest(self) -> str:
        """The sha256 of everything the suite decides, label sets and templates included."""
        asked = [s.digest for p in self.asked for s in (*p.label_sets(), *p.prompt_sets())]
        # where files lie on this machine decides nothing
        places = {
            "dataset": "",
            "probes": [p.model_dump(exclude={"label_set", "templates"}) for p in self.asked],
        }
        fixed = self.model_dump(mode="json") | places
        text = json.dumps([fixed, self.pictures.digest, asked], default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def cells(self) -> pd.DataFrame:
        """Pictures and subjects of every group; columns attribute, group, pictures, subjects."""
        clusters = self.pictures.table.set_index("image_id")["cluster_id"]
        rows = []
        for attribute, values in self.groups.items():
            by_group = clusters.groupby(named(values)).agg(["size", "nunique"])
            rows += [
                {
                    "attribute": attribute,
                    "group": str(group),
                    "pictures": int(by_group.loc[group, "size"]),
                    "subjects": int(by_group.loc[group, "nunique"]),
                }
                for group in [*values.cat.categories, UNKNOWN]
                if group in by_group.index
            ]
        return pd.DataFrame(rows)

    def power(self, bases: tuple[float, ...] = (0.01, 0.05, 0.2)) -> pd.DataFrame:
        """The smallest detectable gap between the two smallest groups compared, by base rate.

        One row an attribute: how many groups are large enough to be compared, the smallest of them,
        the comparisons of one label (pairs and, from three groups on, each against the rest), one
        column a base rate (the difference detected with the suite's power), and ``needed``: the
        pictures a group to show that equal rates of 10 % differ by less than the default margin.
        NaN where fewer than two groups are compared.
        """
        cells = self.cells()
        enough = cells["pictures"] >= self.confidence.min_group
        compared = cells[(cells["group"] != UNKNOWN) & enough]
        sizes = {
            a: np.sort(compared.loc[compared["attribute"] == a, "pictures"]) for a in self.groups
        }
        return pd.DataFrame([self._power(a, n, bases) for a, n in sizes.items()])

    def _power(
        self, attribute: str, sizes: NDArray[np.int64], bases: tuple[float, ...]
    ) -> dict[str, Any]:
        c, k = self.confidence, len(sizes)
        comparisons = k * (k - 1) // 2 + (k if k > 2 else 0)
        row: dict[str, Any] = {"attribute": attribute, "groups": k}
        row |= {"smallest": int(sizes[0]) if k else 0, "comparisons": comparisons}
        names = [f"base {base:.0%}" for base in bases]
        if k < 2:
            return row | dict.fromkeys([*names, "needed"], np.nan)
        level = bonferroni_level(c.level, comparisons)
        found = detectable_difference(sizes[0], sizes[1], bases, level=level, power=c.power)
        margin = c.margin(DEFAULT_FAMILY).difference
        needed = needed_n_for_margin(0.1, margin, level=level, power=c.power)
        return row | dict(zip(names, found, strict=True)) | {"needed": float(needed)}

    def harms(self) -> Iterator[tuple[str, str, str]]:
        """(task, label, harm) of every label whose set names a kind of harm."""
        for probe in self.asked:
            for labels in probe.label_sets():
                for label in labels.labels:
                    if label.harm:
                        yield probe.task, label.text, label.harm


def _count(groups: list[str]) -> str:
    return f"only the group '{groups[0]}'" if groups else "no known value"


def suite_names() -> list[str]:
    """Names of the bundled suites."""
    return bundled_names("suites", ".yaml")


def load_suite(ref: str, **changes: str) -> Suite:
    """Load a bundled suite by name or a YAML file by path, with top-level fields changed.

    Raises:
        InputError: no such suite, or it isn't well formed.
    """
    path = bundled("suites") / f"{ref}.yaml" if ref in suite_names() else Path(ref)
    if not path.is_file():
        raise unknown("suite", ref, suite_names(), see=SEE)
    data = {**load_yaml(path), **changes}
    if path.parent != bundled("suites"):
        data = _beside(data, path.parent)
    return validate(Suite, data, path.name)


def _beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in a suite are relative to the suite's file, wherever the command is given."""

    def resolve(value: Any) -> Any:
        looks_like_a_path = isinstance(value, str) and (
            "/" in value or value.endswith((".yaml", ".yml"))
        )
        near = Path(os.path.normpath(folder / str(value)))
        return str(near) if looks_like_a_path and near.exists() else value

    probes = data.get("probes")
    if isinstance(probes, list):
        names = ("label_set", "templates")
        data["probes"] = [
            {k: resolve(v) if k in names else v for k, v in p.items()} if isinstance(p, dict) else p
            for p in probes
        ]
    return {k: resolve(v) if k in ("model", "dataset") else v for k, v in data.items()}
