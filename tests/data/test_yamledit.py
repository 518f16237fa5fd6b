"""A key is set in YAML that a person wrote; every other line stays as it was."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.core.errors import InputError
from audit.data.yamledit import comments, with_key

TEXT = """\
# on top
auditor: Ana  # of the lab
used_in: ""
harm_map: []
#  - {who: "", how: ""}
sign_off:
  - {role: Auditor, name: Ana}
  # still to ask
  - {role: Owner}
sections:
  # about the first
  summary: |
    One # not a comment

    two

  # uses: |
  limits: >-
    folded
    words
# at the end
"""


def test_one_line_changes_and_all_others_stay() -> None:
    made = with_key(TEXT, ("used_in",), "an archive: “ours”")
    assert made == TEXT.replace('used_in: ""', 'used_in: "an archive: “ours”"')


def test_a_comment_inside_what_is_replaced_moves_above_it() -> None:
    made = with_key(TEXT, ("auditor",), "Bo")
    assert made.startswith('# on top\n# of the lab\nauditor: "Bo"\n')
    made = with_key(TEXT, ("sign_off",), [{"role": "Owner", "name": "Bo: x"}])
    assert "# still to ask\nsign_off:\n  - {role: Owner, name: 'Bo: x'}\nsections:" in made
    assert sorted(comments(made)) == sorted(comments(TEXT))


def test_a_section_is_replaced_and_those_beside_it_stay() -> None:
    made = with_key(TEXT, ("sections", "summary"), "- a\n  - b\n\nEnd.\n\n")
    assert made == TEXT.replace(
        "    One # not a comment\n\n    two\n", "    - a\n      - b\n\n    End.\n"
    )


def test_a_key_that_waits_as_a_comment_is_written_there() -> None:
    made = with_key(TEXT, ("sections", "uses"), "To find.")
    assert made == TEXT.replace("  # uses: |\n", "  uses: |\n    To find.\n")


def test_a_new_key_goes_below_the_others() -> None:
    made = with_key(TEXT, ("sections", "data"), "Some.")
    assert made == TEXT.replace("    words\n", "    words\n  data: |\n    Some.\n")
    assert with_key("auditor: Ana\n", ("sections", "data"), "x").endswith(
        "auditor: Ana\nsections:\n  data: |\n    x\n"
    )
    assert with_key("run: a", ("auditor",), "b") == 'run: a\nauditor: "b"'


def test_a_mapping_in_braces_is_written_in_lines() -> None:
    made = with_key("run: a\nsections: {data: x, plan: y}\n", ("sections", "data"), "z")
    assert yaml.safe_load(made)["sections"] == {"data": "z\n", "plan": "y\n"}


@pytest.mark.parametrize(
    "text", ["{auditor: x}", "? auditor\n: - x\n  - y\n...\n", "[1]", "a: [\n"]
)
def test_what_can_not_be_set_in_place_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        with_key(text, ("used_in",), "x")


def test_a_hash_in_a_value_is_no_comment() -> None:
    text = 'a: "#1"  # one\nb: |  # two\n  # three is text\nc: x#y\n'
    assert comments(text) == ["# one", "# two"]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["summary", "uses", "limits", "data"]))
def test_any_text_comes_back_as_it_was_typed(value: str, name: str) -> None:
    made = with_key(TEXT, ("sections", name), value)
    kept = value.replace("\r\n", "\n").replace("\r", "\n").strip("\n").rstrip()
    assert (yaml.safe_load(made)["sections"][name] or "").rstrip("\n") == kept
    rest = [c for c in comments(TEXT) if c != "# uses: |"]
    assert [c for c in comments(made) if c != "# uses: |"] == rest
