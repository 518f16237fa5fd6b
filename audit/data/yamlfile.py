"""Read the YAML a person wrote, and say in a sentence, with file and line, what is wrong with it.

YAML here holds nouns and numbers: no tags, anchors, aliases or merge keys, and no key twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Row
from audit.data.values import BLANKS

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 32
_TEXT_TAG = "tag:yaml.org,2002:str"
_INT_TAG, _FLOAT_TAG = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
#: what the loader decides by itself, and may stand as a key too, as the text that was written
_NUMBERS = (_INT_TAG, _FLOAT_TAG, "tag:yaml.org,2002:timestamp")
_NEEDED = {
    "tuple_type": "a list is needed",
    "list_type": "a list is needed",
    "string_type": "text is needed",
    "path_type": "the path of a folder is needed",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "bool_parsing": "true or false is needed",
    "bool_type": "true or false is needed",
    "finite_number": "a finite number is needed",
    "model_type": "keys with values are needed; if it is meant as text, put it in quotes",
    "dict_type": "keys with values are needed",
    "mapping_type": "keys with values are needed",
}


class Document(Row):
    """The content of a YAML file, which remembers the line of every key and item."""

    def __init__(self, content: Row, lines: dict[Loc, int]) -> None:
        """``lines`` maps a path such as ``("labels", 3, "text")`` to its line, from 1."""
        super().__init__(content)
        self.lines = lines


class FieldError(ValueError):
    """Raised in a model's validator: ``complaint`` about what lies at ``at`` inside that model."""

    def __init__(self, complaint: str, *at: str | int) -> None:
        """``at`` continues the path of the model that raises: ``"labels", 3``."""
        super().__init__(complaint)
        self.at: Loc = at


def load_yaml(path: Path, max_bytes: int = 1_000_000) -> Document:
    """Read a YAML mapping from a file.

    Raises:
        InputError: no such file, too large, not UTF-8, not YAML, not a mapping; tags, anchors,
            aliases, a key twice, a key that isn't text, nesting beyond ``MAX_DEPTH``.
    """
    return parse_yaml(read_text(path, max_bytes), str(path))


def parse_yaml(text: str, where: str) -> Document:
    """A YAML mapping from text; ``where`` names it in sentences.

    Raises:
        InputError: as ``load_yaml``, of what can be wrong with the text.
    """
    try:
        found = _parsed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{where}:{mark.line + 1}" if mark else where
        told = ": ".join(part for part in (error.context, error.problem) if part)
        raise InputError(sentence(f"{at}: {told}")) from error
    except yaml.YAMLError as error:
        raise InputError(sentence(f"{where}: not YAML: {_one_line(error)}")) from error
    except ValueError as error:  # a date or number that looks like one and is none
        raise InputError(f"{where}: {_one_line(error)}", "Put it in quotes") from error
    if found is None:
        raise InputError(f"{where}: not a mapping; it should be lines of 'key: value'.")
    content, lines = found
    return Document(deepcopy(content), lines)


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Row, dict[Loc, int]] | None:
    """Content and lines of a mapping, else None: a run reads the same bundled files many times."""
    loader = _PlainLoader(text)
    node = loader.get_single_node()
    if not isinstance(node, MappingNode):
        return None
    return loader.construct_document(node), dict(_lines(node, (), 1))


def validate(model_cls: type[M], data: object, where: str = "") -> M:
    """Make a model of ``data``; what doesn't fit becomes one sentence with its place.

    Args:
        model_cls: the pydantic model.
        data: what :func:`load_yaml` returned, or any mapping.
        where: the file, for the sentence.

    Raises:
        InputError: the first thing that doesn't fit, unknown keys first, and how many more.
    """
    try:
        return model_cls.model_validate(data)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        first, more = found[0], len(found) - 1
        problem = first.get("ctx", {}).get("error")
        loc = (*first["loc"], *getattr(problem, "at", ()))
        at = place(data, loc, where)
        told = f"{at}: {_complaint(first, model_cls)}".removeprefix(": ")
        rest = f" ({more} more problem{'s' * (more > 1)} in it.)" if more else ""
        raise InputError(sentence(told) + rest) from error


def place(data: object, loc: Loc, where: str = "") -> str:
    """Where something is, as a person would look it up: ``quick.yaml:14 probes[1].label_set``."""
    kept = _in_data(data, loc)
    lines = data.lines if isinstance(data, Document) else {}
    line = next((lines[kept[:n]] for n in range(len(kept), 0, -1) if kept[:n] in lines), None)
    file = f"{where}:{line}" if where and line else where
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in kept).lstrip(".")
    return " ".join(part for part in (file, path) if part)


class WrittenFloat(float):
    """A number that remembers how it was written: as text, 1.10 is not 1.1."""

    text: str


def written(value: object) -> str:
    """A value of a YAML file as the text that stands there."""
    return str(getattr(value, "text", value)).strip(BLANKS)


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without what lets a small file become a large or clever one.

    What YAML 1.1 reads as numbers and people do not (010, 0x10, 1_000, 12:30, 2020-01-01) is text.
    """

    depth = 0  # of the node being composed
    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML keeps them
        first: [(tag, form) for tag, form in pairs if tag not in _NUMBERS]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None):  # an alias has one too
            self._refuse(event, "anchors and aliases (& and *) are not used here: write it out")
        if getattr(event, "tag", None):
            self._refuse(event, f"the YAML tag '{event.tag}' is not allowed: write plain text")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: dict[Any, Node]) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag in _NUMBERS:
                key.tag = _TEXT_TAG  # a code such as 007 is a name
            if not isinstance(key, ScalarNode) or key.tag != _TEXT_TAG:
                name = _shown(key.value) if isinstance(key, ScalarNode) else "(a list or mapping)"
                self._refuse(key, f"the key {name} is not text: put it in quotes")
            if key.value in seen:
                self._refuse(key, f"the key '{key.value}' is given twice: keep one of them")
            seen.add(key.value)
        return node

    def _refuse(self, at: Any, problem: str) -> None:
        raise ComposerError(None, None, problem, at.start_mark)

    def construct_yaml_float(self, node: ScalarNode) -> float:
        value = WrittenFloat(super().construct_yaml_float(node))
        value.text = node.value
        return value


_PlainLoader.add_constructor(_FLOAT_TAG, _PlainLoader.construct_yaml_float)
_PlainLoader.add_implicit_resolver(_INT_TAG, re.compile(r"(?:0|-?[1-9]\d*)\Z", re.ASCII), None)
_PlainLoader.add_implicit_resolver(
    _FLOAT_TAG,
    re.compile(r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]\d+)?\Z|[-+]?\.(?:inf|nan)\Z", re.ASCII),
    None,
)
yaml.SafeDumper.add_multi_representer(float, yaml.SafeDumper.represent_float)


def read_text(path: Path, max_bytes: int = 1_000_000) -> str:
    """The text of a file that a person wrote.

    Raises:
        InputError: no such file, too large, can't be read, not UTF-8.
    """
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}. Check the path; it is read from the current folder.")
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(sentence(f"{path}: can't be read: {error.strerror}")) from error
    if len(raw) > max_bytes:
        raise InputError(
            f"{path}: {path.stat().st_size:,} bytes; at most {max_bytes:,} are read. "
            "Split it, or check that it is the file you meant."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text. Save the file as UTF-8.") from error


def _lines(node: Node, at: Loc, line: int) -> Iterator[tuple[Loc, int]]:
    yield at, line
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*at, key.value), key.start_mark.line + 1)
    elif isinstance(node, SequenceNode):
        for i, item in enumerate(node.value):
            yield from _lines(item, (*at, i), item.start_mark.line + 1)


def _in_data(data: object, loc: Loc) -> Loc:
    """Pydantic's path without the parts that aren't in the file, such as names of union members."""
    kept: list[str | int] = []
    for position, part in enumerate(loc):
        is_item = isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)
        if is_item or (isinstance(data, dict) and part in data):
            data = data[part]  # type: ignore[index]
        elif position < len(loc) - 1 or not isinstance(data, dict):
            continue
        kept.append(part)
    return tuple(kept)


def _complaint(error: ErrorDetails, model_cls: type[BaseModel]) -> str:
    """One error of pydantic's in words: what was got, what is allowed, the nearest name."""
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        keys = _keys_at(model_cls, error["loc"])
        name = str(error["loc"][-1])
        listing = f"Keys here: {', '.join(keys)}" if keys else None
        return sentence(f"unknown key '{name}'", suggest(name, keys), listing)
    if kind == "missing":
        return "this key is missing and is needed"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", error["msg"]))
    if kind == "literal_error":
        allowed = context["expected"]
        return sentence(f"got {_shown(got)}; allowed: {allowed}", _nearest(got, allowed))
    if kind == "string_type" and isinstance(got, (bool, int, float)):
        return f"got {_shown(got)}, which YAML does not read as text: put it in quotes"
    needed = _NEEDED.get(kind, error["msg"][:1].lower() + error["msg"][1:])
    return f"got {_shown(got)}; {needed}"


def _nearest(got: object, allowed: str) -> str | None:
    names = [part.strip("' ") for part in allowed.replace(" or ", ", ").split(",")]
    return suggest(str(got), names)


def _keys_at(model_cls: type[BaseModel], loc: Loc) -> list[str]:
    """The keys known where ``loc``'s last part was written; [] where that can't be told."""
    models = [model_cls]
    for part in loc[:-1]:
        inner = [f.annotation for m in models for name, f in m.model_fields.items() if name == part]
        models = [m for a in inner for m in _models(a)] if inner else _tagged(models, part)
    return sorted({field.alias or name for m in models for name, field in m.model_fields.items()})


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models inside an annotation: Label in ``tuple[Label, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in get_args(annotation) for m in _models(inner)]


def _tagged(models: list[type[BaseModel]], part: str | int) -> list[type[BaseModel]]:
    """Of a union's members, the one that ``part`` names (its discriminator), else all."""
    named = [
        m for m in models if any(part in get_args(f.annotation) for f in m.model_fields.values())
    ]
    return named or models


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
