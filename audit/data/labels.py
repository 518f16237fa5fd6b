"""Label sets and prompt templates: the words a picture is compared with, as cited data.

The words themselves are in ``label_sets/``; a file of your own works the same. See its README.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from audit.core.characters import apart, plain, spelt
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.resources import shipped
from audit.core.rows import Row
from audit.data.articles import vowel_sound
from audit.data.guard import accusation
from audit.data.tags import FROZEN, Tag, Text, bundled_tags
from audit.data.yamlfile import FieldError, load_yaml, validate

Harm = Literal[
    "allocation", "quality of service", "stereotyping", "denigration", "over-representation",
    "under-representation", "being watched, stopped or searched",
]  # fmt: skip
HARMS: tuple[str, ...] = get_args(Harm)

Article = Literal["as written", "right", "wrong", "absent"]
Phrasing = Literal["as written", "singular", "person"]
#: ways to say the same label; 'as written' is its ``text``
PHRASINGS: tuple[Phrasing, ...] = get_args(Phrasing)

_PLACE = "{}"
_ARTICLE = re.compile(r"\b([Aa])n? (?=\{\})")


class Share(BaseModel):
    """A published number beside which a label is read, such as women's share of an occupation."""

    model_config = FROZEN

    value: float = Field(ge=0, le=1, allow_inf_nan=False)
    what: Text = Field(description="of what it is the share, and of when")
    source: Text | None = Field(None, description="where it is from; default: the set's source")


class Label(BaseModel):
    """One answer a model may give. In YAML a bare text is a label with nothing else to say."""

    model_config = FROZEN

    text: Text = Field(description="what is put into the template")
    key: str = Field(
        "", min_length=1, description="the value it stands for in a truth column; default: text"
    )
    tags: tuple[str, ...] = ()
    harm: Harm | None = Field(None, description="the harm of saying it of a person")
    counters: tuple[str, ...] = Field(
        (), description="texts of the harmless labels of this set that it is paired with"
    )
    share: Share | None = Field(None, description="a published number beside which it is read")
    singular: Text | None = Field(
        None, description="the same label as one singular noun: 'suspect' for 'suspicious person'"
    )
    person: Text | None = Field(
        None, description="the same label with the word 'person': 'criminal person' for 'criminal'"
    )

    def phrased(self, phrasing: Phrasing) -> str:
        """The label in another phrasing; its text as written where it has none."""
        other = {"as written": self.text, "singular": self.singular, "person": self.person}
        return other[phrasing] or self.text

    @model_serializer(mode="wrap")
    def _without_absent_phrasings(self, dump: SerializerFunctionWrapHandler) -> Row:
        """So that a set without other phrasings keeps the digest it had before there were any."""
        absent = [name for name in PHRASINGS[1:] if getattr(self, name) is None]
        return {key: value for key, value in dump(self).items() if key not in absent}

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: object) -> object:
        if isinstance(data, str):
            data = {"text": data}
        if isinstance(data, dict) and data.get("text"):
            return {"key": data["text"], **data}
        return data


class Cited(BaseModel):
    """What every list of words carries: name, version, purpose, source, what is missing."""

    model_config = FROZEN

    name: Text
    version: int = Field(ge=1)
    purpose: Text
    source: Text = Field(description="citation with arXiv id or address, or 'this project' and why")
    licence: Text
    complete: bool = Field(True, description="every word was read at its source")
    missing: Text | None = Field(None, description="what is missing where complete is false")
    notes: Text | None = Field(None, description="what was learnt since; decides nothing")

    @model_validator(mode="after")
    def _says_what_is_missing(self) -> Self:
        if self.complete == bool(self.missing):
            raise ValueError("'complete: false' goes with 'missing:', which says what is missing")
        return self

    @property
    def digest(self) -> str:
        """Sha256 of everything in it but its notes, as canonical JSON: a difference shows here."""
        told = self.model_dump(mode="json", exclude={"notes"})
        content = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()


class LabelSet(Cited):
    """The labels among which a model chooses, with where they come from."""

    content_warning: Text | None = None
    acknowledge: bool = Field(False, description="ask for 'acknowledge:' whatever the tags say")
    attribute: Text | None = Field(
        None, description="the attribute of the pictures that these labels name, if any"
    )
    tags: Mapping[str, Tag] = Field({}, description="tags of this set's own, with their meaning")
    additions: Mapping[str, Label] = Field({}, description="labels that a suite may add by name")
    labels: tuple[Label, ...]
    _before_additions: str = PrivateAttr("")
    _classes: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def own_name(self) -> str:
        """The name without what was added: 'x' of 'x + child'."""
        return self._before_additions or self.name

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if len(self.labels) < 2:
            raise FieldError("a choice needs at least two labels; add one", "labels")
        _refuse_redefined(self.tags)
        for phrasing in PHRASINGS:
            _refuse_duplicates(self.phrased(phrasing), "labels", phrasing)
        taken = {normalise(label.text): label.text for label in self.labels}
        for name, addition in self.additions.items():
            if normalise(addition.text) in taken:
                raise FieldError(f"'{addition.text}' is already in the set", "additions", name)
        self._check_labels()
        return self

    def _check_labels(self) -> None:
        places: list[tuple[Label, tuple[str, str | int]]]
        places = [(label, ("labels", i)) for i, label in enumerate(self.labels)]
        places += [(label, ("additions", name)) for name, label in self.additions.items()]
        texts = [label.text for label in self.labels]
        for label, at in places:
            for tag in label.tags:
                _known_tag(tag, {*bundled_tags(), *self.tags}, (*at, "tags"))
            for counter in label.counters:
                if counter not in texts or counter == label.text:
                    told = sentence(f"no other label '{counter}' here", suggest(counter, texts))
                    raise FieldError(told, *at, "counters")

    def scored_as(self, classes: Mapping[str, Iterable[str]], where: str = "") -> LabelSet:
        """This set, each of its labels standing for a class where answers are held against truth.

        Args:
            classes: name of a class: texts or keys of its labels; each label in exactly one.
            where: the place that asked, for messages.

        Raises:
            InputError: fewer than two classes, a name that is no label, a label in no class or in
                two, a class named like a label of another.
        """
        text = {name: one.text for one in self.labels for name in (one.key, one.text)}
        found: dict[str, str] = {}
        for name, members in classes.items():
            for member in members:
                if member not in text:
                    raise unknown(f"label of '{self.name}' is", member, text, where=where)
                if found.setdefault(text[member], name) != name:
                    told = f"{where}: '{member}' is in the classes '{found[text[member]]}' and"
                    raise InputError(f"{told} '{name}'", "Give each label one class")
        self._require_whole(classes, found, where)
        scored = self.model_copy()
        scored._classes = found
        return scored

    def _require_whole(self, classes: Iterable[str], found: Mapping[str, str], where: str) -> None:
        empty = [name for name in classes if name not in found.values()]
        missing = [text for text in self.texts if text not in found]
        if len({*found.values()}) < 2 or empty:
            told = f"no label is of the class '{empty[0]}'" if empty else "one class"
            hint = "Give two classes or more, each with a label"
            raise InputError(f"{where}: {told}", hint)
        if missing:
            told = ", ".join(f"'{text}'" for text in missing)
            hint = "Give each label of the set one class"
            raise InputError(f"{where}: no class has {told}", hint)
        for text, name in found.items():
            if text in {*classes} - {name}:
                told = f"{where}: the class '{text}' is named like a label of the class '{name}'"
                raise InputError(told, "Name it otherwise")

    @property
    def classes(self) -> tuple[str, ...]:
        """What answers are scored as: the labels' texts, or the classes that they stand for."""
        return tuple(dict.fromkeys(self._classes.values())) or self.texts

    @property
    def class_places(self) -> tuple[int, ...]:
        """Place of each label's class among ``classes``, in the order of the labels."""
        classes = self.classes
        return tuple(classes.index(self.class_of(text)) for text in self.texts)

    @property
    def merges(self) -> bool:
        """Whether labels stand for classes of several."""
        return bool(self._classes)

    def class_of(self, text: str) -> str:
        """The class that a label stands for; itself, if it stands for nothing else."""
        return self._classes.get(text, text)

    def tag(self, name: str) -> Tag:
        """What a tag means here: this set's own, else the common vocabulary's; KeyError if none."""
        return self.tags[name] if name in self.tags else bundled_tags()[name]

    @property
    def texts(self) -> tuple[str, ...]:
        """The labels' texts, in order."""
        return self.phrased("as written")

    def phrased(self, phrasing: Phrasing) -> tuple[str, ...]:
        """The labels in another phrasing, in order; those that have none as written."""
        return tuple(label.phrased(phrasing) for label in self.labels)

    def reworded(self, phrasing: Phrasing) -> int:
        """How many labels another phrasing changes."""
        return sum(a != b for a, b in zip(self.texts, self.phrased(phrasing), strict=True))

    @property
    def families(self) -> dict[str, tuple[int, ...]]:
        """Indices of the labels of every tag that has a rate of its own, in order of appearance."""
        found: dict[str, tuple[int, ...]] = {}
        for i, label in enumerate(self.labels):
            for tag in label.tags:
                if self.tag(tag).family:
                    found[tag] = (*found.get(tag, ()), i)
        return found

    def family_harm(self, tag: str) -> str | None:
        """The harm that the labels of a family state, None where none or several are stated."""
        harms = {label.harm for label in self.labels if tag in label.tags}
        return next(iter(harms)) if len(harms) == 1 else None

    @property
    def needs_acknowledgement(self) -> bool:
        """Whether a suite must acknowledge that it asks this: declared, or due to a label."""
        return self.declares_care or any(map(self._needs_care, self.labels))

    @property
    def declares_care(self) -> bool:
        """Whether the set itself says that it needs acknowledgement, or a tag of a label does."""
        return self.acknowledge or any(self._needs_care(x) for x in self.labels if x.tags)

    @property
    def unpaired(self) -> tuple[str, ...]:
        """Texts that need acknowledgement and are paired with no harmless label."""
        return tuple(x.text for x in self.labels if not x.counters and self._needs_care(x))

    def _needs_care(self, label: Label) -> bool:
        """By its tags, which are its author's word; by its own words where it has none."""
        if label.tags:
            return any(self.tag(tag).acknowledge for tag in label.tags)
        return accusation(label.text) is not None

    def plus(self, addition: str | Label, where: str = "") -> LabelSet:
        """This set with one label more: a declared addition by name, or any label.

        Raises:
            InputError: no such addition, or its text is already in the set.
        """
        label = self._addition(addition, where) if isinstance(addition, str) else addition
        same = normalise(label.text)
        if same in map(normalise, self.texts):
            told = f"{where}: '{label.text}' is already in the label set '{self.name}'"
            raise InputError(told.removeprefix(": "), "Leave it out of 'add'")
        changed = {
            "name": f"{self.name} + {label.text}",
            "labels": (*self.labels, label),
            "additions": {n: a for n, a in self.additions.items() if normalise(a.text) != same},
        }
        found = validate(LabelSet, {**dict(self), **changed}, where)
        found._before_additions = self.own_name
        return found

    def _addition(self, name: str, where: str) -> Label:
        if name in self.additions:
            return self.additions[name]
        if any(normalise(name) == normalise(text) for text in self.texts):
            return Label(text=name)  # plus() says that it is there already
        see = f"It declares: {', '.join(self.additions) or 'none'}. Your own: {{text: {name}}}."
        raise unknown(f"addition to '{self.name}'", name, self.additions, where=where, see=see)


class PromptSet(Cited):
    """Templates that a label's text is put into; their embeddings are averaged (an ensemble)."""

    article: Literal["as written", "a/an"] = Field(
        "as written", description="'a/an': the article before the place follows the label's sound"
    )
    templates: tuple[Text, ...]

    @model_validator(mode="after")
    def _have_one_place(self) -> Self:
        if not self.templates:
            raise FieldError("no template; write one, such as 'a photo of a {}.'", "templates")
        for i, template in enumerate(self.templates):
            _check_template(template, i)
        _refuse_duplicates(self.templates, "templates")
        return self

    @property
    def needs_acknowledgement(self) -> bool:
        """Whether a template accuses, whoever the label makes it about."""
        return any(map(accusation, self.templates))

    @property
    def rule(self) -> Article:
        """Which article a template of this set gets where nobody asks for another."""
        return "right" if self.article == "a/an" else "as written"

    def prompts(self, text: str) -> tuple[str, ...]:
        """One prompt a template, with ``text`` in its place; case and punctuation are kept."""
        return tuple(prompt(template, text, self.rule) for template in self.templates)


def has_article(template: str) -> bool:
    """Whether 'a' or 'an' stands right before the label's place."""
    return bool(_ARTICLE.search(template))


def prompt(template: str, text: str, article: Article = "as written") -> str:
    """A template with ``text`` in its place.

    Only 'a' or 'an' right before the place follows ``article``: by the sound of the text, against
    it, or left out.
    """
    if article == "absent":
        template = _ARTICLE.sub("", template)
    elif article != "as written":
        an = vowel_sound(text) == (article == "right")
        template = _ARTICLE.sub(r"\1n " if an else r"\1 ", template)
    return template.replace(_PLACE, text)


def load_label_set(
    ref: str | Path,
    add: Iterable[str | Label] = (),
    where: str = "",
    folder: Path | None = None,
) -> LabelSet:
    """The bundled label set of that name, or the one in a YAML file, with labels added.

    Args:
        ref: a bundled name, or a path that ends in .yaml or .yml.
        add: names of declared additions, or labels.
        where: the place that asked, for messages.
        folder: what a relative path is relative to; the current folder if None.

    Raises:
        InputError: no such set or addition, or a file that isn't a label set.
    """
    found = _load(LabelSet, "label set", "labels", ref, where, folder)
    for addition in add:
        found = found.plus(addition, where)
    return found


def load_prompt_set(ref: str | Path, where: str = "", folder: Path | None = None) -> PromptSet:
    """The bundled prompt set of that name, or the one in a YAML file; see load_label_set."""
    return _load(PromptSet, "prompt set", "templates", ref, where, folder)


def label_set_names() -> list[str]:
    """Names of the bundled label sets, sorted."""
    return _names("labels")


def prompt_set_names() -> list[str]:
    """Names of the bundled prompt sets, sorted."""
    return _names("templates")


def normalise(text: str) -> str:
    """``text`` as it counts for 'the same label': no case, joiners, Unicode form, single spaces."""
    return plain(text)


C = TypeVar("C", bound=Cited)


def _load(
    model: type[C], what: str, kind: str, ref: str | Path, where: str, folder: Path | None
) -> C:
    if isinstance(ref, str) and not ref.lower().endswith((".yaml", ".yml")):
        path = _bundled_path(what, kind, ref, where)
    else:
        path = (folder or Path()) / Path(ref).expanduser()
    return validate(model, load_yaml(path), str(path))


def _bundled_path(what: str, kind: str, name: str, where: str) -> Path:
    names = _names(kind)
    if name not in names:
        see = f"'clip-audit list {what.replace(' ', '-')}s' shows all {len(names)}."
        own = f"A {what} of your own is given by its path, which ends in .yaml."
        raise unknown(what, name, names, where=where, see=f"{see} {own}")
    return shipped("label_sets") / kind / f"{name}.yaml"


def _names(kind: str) -> list[str]:
    return sorted(path.stem for path in (shipped("label_sets") / kind).glob("*.yaml"))


def _refuse_duplicates(texts: Iterable[str], key: str, phrasing: Phrasing = "as written") -> None:
    seen: dict[str, str] = {}
    for i, text in enumerate(texts):
        same = normalise(text)
        if same in seen:
            one, other = text, seen[same]
            if "invisible" in apart((one, other)):
                one, other = spelt(one), spelt(other)
            told = f"'{one}' is the same as '{other}', which is in the list already"
            told += "" if phrasing == "as written" else f", in the phrasing '{phrasing}'"
            note = "Case, spaces, joiners and look-alike letters do not count"
            raise FieldError(sentence(told, note), key, i)
        seen[same] = text


def _refuse_redefined(tags: Iterable[str]) -> None:
    for name in tags:
        if name in bundled_tags():
            raise FieldError(f"the tag '{name}' has a meaning already: rename it", "tags", name)


def _known_tag(tag: str, known: Iterable[str], at: tuple[str | int, ...]) -> None:
    names = sorted(known)
    if tag not in names:
        own = "A tag of your own goes into this file's 'tags:' with its meaning"
        listing = f"Known: {', '.join(names)}"
        raise FieldError(sentence(f"no tag named '{tag}'", suggest(tag, names), listing, own), *at)


def _check_template(template: str, index: int) -> None:
    places = template.count(_PLACE)
    others = template.replace(_PLACE, "")
    if places == 1 and "{" not in others and "}" not in others:
        return
    if places > 1:
        told = f"{places} places for the label"
    else:
        told = "braces other than {}" if places else "no place for the label"
    raise FieldError(f"'{template}' has {told}; write {{}} exactly once", "templates", index)
