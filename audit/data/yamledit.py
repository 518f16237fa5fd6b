"""Change one key of YAML that a person wrote; every other line, comments too, stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from audit.core.errors import InputError
from audit.core.rows import Fields, Row
from audit.data.yamlfile import Loc, parse_yaml

#: signs that can stand in a block of text as they are
_PRINTED = re.compile(
    "[\\t\\n\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd"
    "\\U00010000-\\U0010ffff]*"
)


def with_key(text: str, at: Loc, value: object) -> str:
    """The text with one key set, of the file or of a mapping in it: ``("sections", "summary")``.

    A key that is new goes to the end, or where it stands commented out; a comment inside what is
    replaced moves above it. What comes out is read again and compared, so nothing else changes.

    Args:
        text: the file; lines of ``key: value``.
        at: the key, one or two deep.
        value: text, or a list of flat mappings. Text loses empty lines at its ends.

    Raises:
        InputError: the text isn't YAML, or is laid out so that the key can't be set in place.
    """
    wanted = _set(parse_yaml(text, "the file"), at, _kept(value))
    for over, block in ((True, True), (True, False), (False, True), (False, False)):
        made = _spliced(text, at, wanted, over, block)
        if made is not None and _says(made, wanted) and _comments_stay(text, made, at):
            return made
    told = f"'{'.'.join(map(str, at))}' can't be set without touching the lines around it"
    raise InputError(told, "Edit the file as text, with one key a line")


def comments(text: str) -> list[str]:
    """Every comment of a YAML text, in order; '#' inside a value is none."""
    return [told for _, told in _comments(text)]


# ---- what it should say ------------------------------------------------------------------------


def _kept(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value.replace("\r\n", "\n").replace("\r", "\n").strip("\n").rstrip()


def _set(data: Fields, at: Loc, value: object) -> Row:
    key, rest = str(at[0]), at[1:]
    inner = data.get(key) if rest else None
    new = _set(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return {**data, key: new}


def _says(made: str, wanted: Fields) -> bool:
    try:
        return bool(_bare(parse_yaml(made, "")) == _bare(wanted))
    except InputError:
        return False


def _bare(data: object) -> object:
    """Values to compare: a block of text ends with a line break that its author didn't type."""
    if isinstance(data, Mapping):
        return {key: _bare(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_bare(value) for value in data]
    return data.rstrip("\n") if isinstance(data, str) else data


def _comments_stay(before: str, after: str, at: Loc) -> bool:
    left = comments(after)
    for told in comments(before):
        if told in left:
            left.remove(told)
        elif not _blank_key(str(at[-1])).fullmatch(told):
            return False
    return True


def _blank_key(name: str) -> re.Pattern[str]:
    """A key that waits as a comment: ``# uses: |``."""
    return re.compile(rf"[ \t]*#[ \t]*{re.escape(name)}:[ \t]*\|?[ \t]*")


# ---- where it goes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """A key with its value: the lines from ``first`` up to ``end``, and how far it is set in."""

    name: str
    first: int
    end: int
    indent: int
    value: Node


def _spliced(text: str, at: Loc, wanted: Fields, over: bool, block: bool) -> str | None:
    """The text with the lines of a key exchanged; None where it is not laid out in lines.

    ``over``: a new key takes the line where it stands commented out; ``block``: text is one.
    """
    lines = text.split("\n")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    inside, name = _entries(root), str(at[0])
    entry = next((e for e in inside if e.name == name), None)
    value = wanted[name]
    if len(at) > 1 and entry is not None and (inner := _entries(entry.value)):
        inside, name, value = inner, str(at[1]), value[at[1]]
        entry = next((e for e in inside if e.name == name), None)
    if not inside:
        return None
    new = _shown(name, value, inside[0].indent, block)
    told = list(_comments(text))
    if entry is not None:
        first, end = entry.first, _without_blank(lines, entry.end)
    else:
        first, end = _place(lines, inside, _blank_at(told, name) if over else None)
    moved = [c for row, c in told if entry and first <= row < end]
    above = [" " * inside[0].indent + comment for comment in moved]
    return "\n".join([*lines[:first], *above, *new, *lines[end:]])


def _entries(node: Node | None) -> list[_Entry]:
    """The keys of a mapping that has each on a line of its own; [] of any other."""
    if not isinstance(node, MappingNode) or node.flow_style:
        return []
    return [
        _Entry(
            k.value, k.start_mark.line, max(_end(v), k.start_mark.line + 1), k.start_mark.column, v
        )
        for k, v in node.value
    ]


def _end(node: Node) -> int:
    """The line after the last of a value; a mapping's own mark lies behind comments below it."""
    if isinstance(node, MappingNode) and node.value and not node.flow_style:
        return _end(node.value[-1][1])
    if isinstance(node, SequenceNode) and node.value and not node.flow_style:
        return _end(node.value[-1])
    mark = node.end_mark
    return int(mark.line) + (mark.column > 0)


def _blank_at(told: Sequence[tuple[int, str]], name: str) -> int | None:
    """The line on which a key waits as a comment."""
    return next((row for row, comment in told if _blank_key(name).fullmatch(comment)), None)


def _place(lines: Sequence[str], inside: Sequence[_Entry], blank: int | None) -> tuple[int, int]:
    """Where a new key goes: over its own comment, or after the others."""
    if blank is not None:
        return blank, blank + 1
    last = _without_blank(lines, inside[-1].end)
    return last, last


def _without_blank(lines: Sequence[str], end: int) -> int:
    """Empty lines below a value stay where they are."""
    while end > 1 and not lines[end - 1].strip():
        end -= 1
    return end


# ---- how it is written -------------------------------------------------------------------------


def _shown(name: str, value: object, indent: int, block: bool) -> list[str]:
    """A key and its value as lines."""
    pad = " " * indent
    if isinstance(value, Mapping):
        inner = [_shown(str(k), v, indent + 2, block) for k, v in value.items()]
        return [f"{pad}{name}:", *(line for lines in inner for line in lines)]
    if isinstance(value, str):
        return _text(f"{pad}{name}:", value, indent + 2, block)
    shown = _dumped(value).splitlines()
    if not value or not isinstance(value, list | tuple):
        return [f"{pad}{name}: {' '.join(shown)}"]
    return [f"{pad}{name}:", *(f"{pad}  {line}" for line in shown)]


def _text(key: str, value: str, indent: int, block: bool) -> list[str]:
    """Text as a block of its own lines if it can be, else in quotes."""
    whole = "\n" in value or indent > 2
    if not (value and whole and block and _PRINTED.fullmatch(value)) or value[0] in " \t\n":
        quoted = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**6)
        return [f"{key} {quoted.strip()}"]
    lines = [f"{' ' * indent}{line}" if line else "" for line in value.split("\n")]
    return [f"{key} |", *lines]


def _dumped(value: object) -> str:
    return str(
        yaml.safe_dump(
            value, default_flow_style=None, allow_unicode=True, sort_keys=False, width=10**6
        )
    )


# ---- comments ----------------------------------------------------------------------------------


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Every comment with its line from 0: what stands between the tokens of the text."""
    end = row = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        start = token.start_mark.index
        yield from _between(text[end:start], row)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            yield from _between(text[start:].split("\n")[0][1:], token.start_mark.line)
        if token.end_mark.index >= end:
            end, row = token.end_mark.index, token.end_mark.line
    yield from _between(text[end:], row)


def _between(text: str, row: int) -> Iterator[tuple[int, str]]:
    for i, line in enumerate(text.split("\n")):
        if "#" in line:
            yield row + i, line[line.index("#") :].rstrip()
