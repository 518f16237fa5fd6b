"""A commented suite to start from, on the bundled people or on a data set that is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.core.resources import bundled
from audit.data.card import AttributeCard
from audit.data.sources import SOURCES
from audit.data.sources.base import Published, Source

#: what stands where only a person knows the value
ROOT: Final = "FOLDER OF THE FILES"
SET: Final = "SET THIS"
#: attributes of a plain suite at most, and the names that come first
_MOST: Final = 3
_FIRST: Final = ("gender", "sex", "male", "female", "age", "young", "race", "skin", "ancestry")
_BINS: Final = "[18, 35, 60]"


def starter(source: str | None = None, root: Path | None = None, legal_basis: str = "") -> str:
    """A suite as YAML with comments.

    Args:
        source: the name of a data set; the bundled people if None.
        root: the folder that its files were unpacked into.
        legal_basis: what allows to use its pictures, in the person's words.

    Raises:
        InputError: no source has this name; a folder or a legal basis of none.
    """
    if source is None and (root or legal_basis):
        told = "a folder and a legal basis are those of a data set, and none is named"
        raise InputError(told, "Name it with '--from'", SOURCES.see)
    if source is None:
        return _bundled("starter").read_text(encoding="utf-8")
    if source not in SOURCES:
        raise unknown(SOURCES.what, source, SOURCES, see=SOURCES.see)
    own = _bundled(f"starter-{source}")
    text = own.read_text(encoding="utf-8") if own.is_file() else _plain(source, SOURCES[source])
    place = str(root.expanduser().resolve()) if root else ROOT
    return text.replace("{ROOT}", _quoted(place)).replace("{LEGAL_BASIS}", _quoted(legal_basis))


def to_set(text: str) -> list[str]:
    """The keys of a written suite that a person has to fill in before it can be checked."""
    left = [line.strip() for line in text.splitlines() if ROOT in line or SET in line]
    if 'legal_basis: ""' in text and "acknowledge: []" not in text:
        left.append("legal_basis:")
    return list(dict.fromkeys(line.partition(":")[0] for line in left))


def _bundled(name: str) -> Path:
    return Path(str(bundled("suites"))) / f"{name}.yaml.txt"


def _quoted(text: str) -> str:
    """Text as YAML takes it in any place."""
    return json.dumps(text, ensure_ascii=False)


def _plain(name: str, source: type[Source]) -> str:
    """A suite that asks one question without an accusation of whatever the source has."""
    attributes = _attributes(source)
    chosen = _chosen(attributes)
    lines = [
        f"# A first suite on {name}: {source.about}.",
        f"# 'clip-audit show {name}' is its card; 'clip-audit check' finds mistakes in this file.",
        f"name: first-audit-of-{name}",
        "purpose: what you want to know, in a sentence; it is printed in the report",
        "",
        "# a bundled name ('clip-audit list models'), a folder, or a hub id",
        "model: specimen-even",
        "",
        "dataset:",
        *_keys(name, source),
        "",
        *_grouped(attributes, chosen, "attributes" in source.model_fields),
        "probes:",
        "  # whom does it call what, when nothing in the picture says so?",
        "  - {kind: classification, label_set: people-occupations, templates: plain}",
        "  # where a column says the right answer, name it:",
        "  # - {kind: classification, label_set: LABELS, templates: plain, truth: COLUMN}",
        "",
        "# label sets that call people suspect are asked only if you name them here, on data with",
        "# consent or another legal basis, and never on named people",
        "acknowledge: []",
        "",
        "# the questions the audit is made for, with the reason; everything else is exploratory:",
        "#   - {label: doctor, attribute: COLUMN, why: whom does it take for one}",
        "primary: []",
        "",
        "confidence:",
        "  margins:                   # how large a gap must be to matter, fixed before the run",
        "    default: {difference: 0.05}",
        "",
        "seed: 0",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _attributes(source: type[Source]) -> dict[str, AttributeCard | None]:
    """Attributes that the source gives to pictures; None where the suite has to say what it is."""
    if issubclass(source, Published):
        return dict(source.facts.attributes)
    named = source.model_fields.get("attribute")
    return {str(named.default): None} if named and isinstance(named.default, str) else {}


def _chosen(attributes: dict[str, AttributeCard | None]) -> list[str]:
    """A few attributes to begin with: what people are mostly asked about first.

    Of those without a list of values only an age is known to be a number, and of what size.
    """
    known = {name: card for name, card in attributes.items() if _is_age(name) or not _is_open(card)}

    def place(name: str) -> int:
        told = name.casefold()
        return next((i for i, word in enumerate(_FIRST) if word in told), len(_FIRST))

    return sorted(known or attributes, key=place)[:_MOST]


def _is_age(name: str) -> bool:
    return name.casefold().startswith("age")


def _is_open(card: AttributeCard | None) -> bool:
    """Whether any value may occur."""
    return card is not None and not card.order


def _grouped(
    attributes: dict[str, AttributeCard | None], chosen: list[str], declared_here: bool
) -> Iterator[str]:
    """The suite's attributes, those that are numbers with bins; what else there is as a comment."""
    if not chosen and not declared_here:
        yield "# nothing is known of who is shown, so no group is compared with another"
        yield "attributes: []"
        yield ""
        return
    if not chosen:
        yield "# columns to group pictures by, of those declared above; a numeric one needs bins"
        yield f"attributes: [{_quoted(SET)}]"
        yield ""
        return
    yield "# columns to group pictures by: somebody's word each, as the card says whose"
    yield "attributes:"
    for name in chosen:
        number = _is_age(name) and _is_open(attributes[name])
        yield f"  - {{name: {_quoted(name)}, bins: {_BINS}}}" if number else f"  - {_quoted(name)}"
    if others := [name for name in attributes if name not in chosen]:
        some = ", ".join(others[:8]) + (" and others" if len(others) > 8 else "")
        yield f"  # also: {some}"
    yield ""


def _keys(name: str, source: type[Source]) -> Iterator[str]:
    """The keys of ``dataset``: those needed to be set, those with a default, others as comments."""
    yield f"  name: {name}"
    yield "  root: {ROOT}"
    for key, field in source.model_fields.items():
        told = f"  # {field.description}" if field.description else ""
        if key in ("name", "root"):
            continue
        if key == "legal_basis":
            yield "  # in your words; without it nothing is asked that accuses or identifies people"
            yield "  legal_basis: {LEGAL_BASIS}"
        elif key == "card":
            yield f"  card: {{legal_basis: {{LEGAL_BASIS}}}}{told}"
        elif field.is_required():
            words = [c for c in get_args(field.annotation) if isinstance(c, str)]
            yield f"  {key}: {_quoted(SET)}{told}{': ' * bool(words)}{', '.join(words)}"
        elif key == "attributes":
            yield "  # columns and whose word each is: annotator-perceived, self-reported, assigned"
            yield f"  attributes: {{{_quoted(SET)}: {{source: {_quoted(SET)}}}}}"
        elif isinstance(field.default, str) and field.default:
            yield f"  {key}: {_quoted(field.default)}{told}"
        else:
            yield f"  # {key}:{told}"
