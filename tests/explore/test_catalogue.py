"""What 'diff' says of two lists of words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from audit.core import registry
from audit.core.errors import InputError
from audit.explore.catalogue import difference, listing

SET = """
name: mine
version: {version}
purpose: to be compared
source: this test
licence: none
labels:
{labels}
"""


def written(folder: Path, version: int, *labels: str) -> str:
    path = folder / f"v{version}.yaml"
    path.write_text(
        SET.format(version=version, labels="\n".join(f"  - {label}" for label in labels))
    )
    return str(path)


def test_two_versions_differ_in_what_was_added_removed_and_said(tmp_path: Path) -> None:
    old = written(tmp_path, 1, "{text: thief, tags: [crime]}", "visitor", "guest")
    new = written(tmp_path, 2, "{text: thief, tags: [suspicion]}", "visitor", "customer")
    lines = difference(old, new)
    assert "version: 1 -> 2" in lines
    assert "- guest" in lines
    assert "+ customer" in lines
    assert any(line.startswith("~ thief: ") and "suspicion" in line for line in lines)
    assert not any("visitor" in line for line in lines)


def test_a_set_does_not_differ_from_itself_but_an_order_does(tmp_path: Path) -> None:
    assert difference("clip-7", "clip-7") == []
    one, other = written(tmp_path, 1, "a", "b"), written(tmp_path, 2, "b", "a")
    assert difference(one, other) == ["version: 1 -> 2", "the order changed"]


def test_labels_are_not_compared_with_templates() -> None:
    with pytest.raises(InputError, match="no label set|not of one kind|no prompt set"):
        difference("clip-7", "people-gender")
    with pytest.raises(InputError, match="Did you mean"):
        difference("people-gender", "people-gendr")


@pytest.mark.slow
def test_a_list_says_what_was_read_in_part_and_what_must_be_acknowledged() -> None:
    said = dict(listing("label-sets"))
    assert said["facet-52"].startswith("(read in part)")
    assert said["ucf-crime-13"].startswith("(needs 'acknowledge:')")
    assert said["clip-paper-21"].startswith("(read in part, needs 'acknowledge:')")
    assert not said["people-gender"].startswith("(")


@pytest.mark.parametrize("kind", ["models", "probes", "metrics"])
def test_a_package_that_can_not_be_imported_ends_no_list(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = {"models": "encoders"}.get(kind, kind)
    broken = EntryPoint("broken", "nowhere_at_all:thing", f"clip_audit.{group}")
    offered = registry._offered

    def with_broken(read: Callable[..., Iterable[EntryPoint]], of: str) -> tuple[EntryPoint, ...]:
        return (*offered(read, of), *([broken] if of == broken.group else []))

    monkeypatch.setattr(registry, "_offered", with_broken)
    found = dict(listing(kind))
    (name,) = (name for name in found if name.startswith("broken"))
    assert found[name].startswith("can't be used: ")
    assert "No module named 'nowhere_at_all'" in found[name]
    assert len(found) > 2
