"""What there is by name, and the card of each: behind ``clip-audit list`` and ``show``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.core.resources import bundled, bundled_names, suites
from audit.data.corruptions import CORRUPTIONS, SEVERITIES, describe
from audit.data.dataset import dataset_names
from audit.data.dataset import load as load_dataset
from audit.data.labels import (
    LabelSet,
    PromptSet,
    label_set_names,
    load_label_set,
    load_prompt_set,
    prompt_set_names,
)
from audit.data.sources import SOURCES
from audit.data.sources.base import Published, Source
from audit.data.yamlfile import load_yaml
from audit.engine.suite import load_suite, suite_names
from audit.explore.replication_card import card_names, load_card
from audit.measure.metrics import METRICS
from audit.models import about, hub
from audit.models.families import DEFAULT, FAMILIES, parted
from audit.models.kinds import KINDS
from audit.probes.kit.base import PROBES


def _first_line(text: object) -> str:
    return " ".join(str(text or "").split("\n\n")[0].split())


def _model_names() -> list[str]:
    """The bundled models, a published one of each kind, and how other families are named."""
    published = [kind.example for kind in KINDS.values()]
    others = [f"{family}:NAME" for family in FAMILIES if family != DEFAULT]
    return [*bundled_names("models"), *published, *others]


def _model_purpose(name: str) -> str:
    if kind := about.known(name):
        return about.purpose(kind)
    family = name.removesuffix(":NAME")
    if family in FAMILIES:
        return FAMILIES[family].about
    card = bundled("models") / name / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    return next((line for line in lines if line and not line.startswith(("#", "-", "|"))), "")


def _dump(model: BaseModel) -> str:
    return yaml.safe_dump(
        model.model_dump(mode="json", exclude_defaults=True),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


def _dataset_purpose(name: str) -> str:
    return SOURCES[name].about if name in SOURCES else str(load_dataset(name).card.provenance)


def _dataset_card(name: str) -> str:
    if name in SOURCES:
        return _source_card(SOURCES[name])
    dataset = load_dataset(name)
    groups = {a: list(dataset.groups(a)) for a, d in dataset.attributes.items() if not d.numeric}
    counts = {"pictures": len(dataset), "subjects": dataset.table["cluster_id"].nunique()}
    return _dump(dataset.card) + yaml.safe_dump(
        {**counts, "groups": groups}, sort_keys=False, allow_unicode=True, width=100
    )


def _source_card(source: type[Source]) -> str:
    """How a source is named in a suite, and the card of what it reads."""
    keys = [
        f"  {field.alias or key}: {_key_card(field)}" for key, field in source.model_fields.items()
    ]
    lines = [source.about, "", inspect.getdoc(source) or "", ""]
    lines += [f"grain: a row is a {source.grain}", f"access: {source.access or 'your own files'}"]
    lines += ["keys of 'dataset' in a suite:", *keys, ""]
    if issubclass(source, Published):
        counts = {part: asdict(of) for part, of in source.official.items()}
        official = yaml.safe_dump({"official": counts}, sort_keys=False, width=100)
        cluster = source.facts.cluster_column or "none: intervals are too narrow"
        lines += [_dump(source.facts) + official, f"cluster: {cluster}"]
    return "\n".join(lines)


def _key_card(field: FieldInfo) -> str:
    """A key's description and default."""
    if field.is_required():
        return f"{field.description or ''} (required)"
    default = field.get_default(call_default_factory=True)
    return f"{field.description or ''} (default: {default!r})"


def _probe_card(name: str) -> str:
    probe = PROBES[name]
    keys = [f"  {key}: {_key_card(field)}" for key, field in probe.model_fields.items()]
    doc = inspect.getdoc(probe) or ""
    return "\n".join([probe.asks, "", doc, "", f"emits: {probe.emits.name}", "keys:", *keys])


def _model_card(name: str) -> str:
    if kind := about.known(name):
        return about.kind_card(kind)
    family = name.removesuffix(":NAME")
    if family in FAMILIES:
        return FAMILIES[family].about
    folder = bundled("models") / name
    readme = folder / "README.md"
    if readme.is_file():
        return readme.read_text(encoding="utf-8")
    return json.dumps(json.loads((folder / "config.json").read_text()), indent=2)


def _words_purpose(words: LabelSet | PromptSet) -> str:
    """A list's purpose, after what a reader must know first."""
    ask = isinstance(words, LabelSet) and words.needs_acknowledgement
    notes = ["read in part"] * (not words.complete) + ["needs 'acknowledge:'"] * ask
    return f"({', '.join(notes)}) {words.purpose}" if notes else words.purpose


#: names, purpose of one, card of one
Shelf = tuple[Callable[[], Sequence[str]], Callable[[str], str], Callable[[str], str]]
_SHELVES: Final[Mapping[str, Shelf]] = {
    "suites": (
        suite_names,
        lambda n: load_suite(n).purpose,
        lambda n: suites()[n].read_text(encoding="utf-8"),
    ),
    "models": (_model_names, _model_purpose, _model_card),
    "datasets": (lambda: [*dataset_names(), *SOURCES], _dataset_purpose, _dataset_card),
    "label-sets": (
        label_set_names,
        lambda n: _words_purpose(load_label_set(n)),
        lambda n: _dump(load_label_set(n)),
    ),
    "templates": (
        prompt_set_names,
        lambda n: _words_purpose(load_prompt_set(n)),
        lambda n: _dump(load_prompt_set(n)),
    ),
    "replications": (card_names, lambda n: load_card(n).purpose, lambda n: _dump(load_card(n))),
    "probes": (lambda: list(PROBES), lambda n: PROBES[n].asks, _probe_card),
    "corruptions": (
        lambda: list(CORRUPTIONS),
        lambda n: CORRUPTIONS[n].about,
        lambda n: "\n".join([CORRUPTIONS[n].about, "", *(describe(n, s) for s in SEVERITIES)]),
    ),
    "metrics": (
        lambda: list(METRICS),
        lambda n: _first_line(inspect.getdoc(METRICS[n])),
        lambda n: inspect.getdoc(METRICS[n]) or "",
    ),
}


def listing(kind: str) -> Iterator[tuple[str, str]]:
    """Name and purpose of everything of a kind (a key of ``list``).

    What another package offers and can't be imported has the reason in place of its purpose.
    """
    names, purpose, _ = _SHELVES[kind]
    for name in names():
        try:
            told = _first_line(purpose(name))
        except InputError as error:
            told = f"can't be used: {error}"
        yield name, told


def card(name: str) -> str:
    """The card of whatever has this name, kind by kind; a name of several kinds shows each.

    A model may also be a folder, a hub id that was downloaded before, a kind by its ``model_type``,
    or one of another family.

    Raises:
        InputError: nothing has this name; a model that can't be read.
    """
    cards = [
        f"{kind[:-1]} {name}\n\n{show(name)}"
        for kind, (names, _, show) in _SHELVES.items()
        if name in names()
    ]
    folder = hub.on_this_machine(name)
    if folder is not None and name not in bundled_names("models"):
        cards.append(f"model {name}\n\n{about.checkpoint_card(folder, name)}")
    elif (kind := KINDS.get(name)) is not None:
        cards.append(f"kind of model {name}\n\n{about.kind_card(kind)}")
    elif not cards and parted(name)[0]:
        cards.append(f"model {name}\n\n{about.located_card(name)}")
    if not cards:
        known = {n for names, _, _ in _SHELVES.values() for n in names()}
        raise unknown(
            "model, data set, label set, probe, metric or suite",
            name,
            known,
            see="'clip-audit list KIND' shows each kind",
        )
    return "\n".join(cards)


def difference(one: str, other: str) -> list[str]:
    """What changed between two label or template sets, or two versions of one, a line each.

    Args:
        one: a bundled name or the path of a YAML file.
        other: likewise.

    Raises:
        InputError: no such set, or one is of labels and the other of templates.
    """
    # some names are both a label set and its templates: then the labels are meant, if they can be
    only_templates = set(prompt_set_names()) - set(label_set_names())
    labels = not only_templates & {one, other}
    old, new = (_word_list(ref, labels) for ref in (one, other))
    if type(old) is not type(new):
        told = f"'{one}' and '{other}' are not of one kind: one has labels, the other templates"
        raise InputError(told, "Compare two label sets or two template sets")
    lines = [
        f"{name}: {getattr(old, name)} -> {getattr(new, name)}"
        for name in ("name", "version", "purpose", "source", "licence", "complete", "notes")
        if getattr(old, name) != getattr(new, name)
    ]
    before, after = _words(old), _words(new)
    lines += [f"- {text}" for text in before if text not in after]
    lines += [f"+ {text}" for text in after if text not in before]
    kept = [text for text in before if text in after]
    lines += [f"~ {text}: {before[text]} -> {after[text]}" for text in kept
              if before[text] != after[text]]  # fmt: skip
    if kept != [text for text in after if text in before]:
        lines.append("the order changed")
    return lines


def _word_list(ref: str, labels: bool) -> LabelSet | PromptSet:
    """A label set or template set by name or path."""
    if not ref.lower().endswith((".yaml", ".yml")):
        return load_label_set(ref) if labels else load_prompt_set(ref)
    return load_prompt_set(ref) if "templates" in load_yaml(Path(ref)) else load_label_set(ref)


def _words(words: LabelSet | PromptSet) -> dict[str, str]:
    """Every label or template with what is said of it beside its text."""
    if isinstance(words, PromptSet):
        return {template: f"article {words.article}" for template in words.templates}
    said = {label.text: label for label in words.labels}
    return {text: _dump(label).replace("\n", "; ").strip("; ") for text, label in said.items()}
