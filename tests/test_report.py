from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_figures import sample_run
from worlds import people

from audit.data.labels import load_label_set
from audit.embeddings import Store
from audit.errors import InputError
from audit.models.planted import PlantedEncoder, picture_key
from audit.page import to_html
from audit.report import code, decimals, escaped, rate_in_words, render
from audit.run import carry_out
from audit.rundir import Run, open_run
from audit.suite import load_suite

SECTIONS = """
0. Content warning and reading guide
1. Summary
2. Audit identity
3. System and checkpoint
4. Intended, out-of-scope and prohibited uses
5. Stakeholders and harm map
6. Data
7. Groups and their limits
8. Label sets
9. Prompts
10. Pre-declared plan
11. Misclassification disparities
12. Intersectional results
13. Label-set and threshold sensitivity
14. Prompt sensitivity and specification curve
15. Retrieval bias
16. Association tests
17. Surveillance probes
18. Robustness by group
19. Calibration by group
20. Mitigation before
21. Replication cards
22. Negative controls and self-checks
23. Limits, power
24. Regulatory cross-walk
25. Recommendations and sign-off
26. Reproduction commands, environment, seeds
27. Change log
""".strip().splitlines()


CHECKS = "{% for check, result in checks() %}{{ check }}: {{ result }}\n{% endfor %}"


class Page(HTMLParser):
    """Every tag of a page with its attributes, and the text outside the style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def run() -> Run:
    render(sample_run())
    return sample_run()


@pytest.fixture(scope="module")
def text(run: Run) -> str:
    return (run.path / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page((run.path / "report.html").read_text(encoding="utf-8"))


def section(text: str, number: int) -> str:
    return text.split(f"\n## {number}. ")[1].split("\n## ")[0]


def test_every_section_is_there_in_order(text: str) -> None:
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert len(headings) == len(SECTIONS)
    for heading, wanted in zip(headings, SECTIONS, strict=True):
        assert heading.startswith(wanted)


@pytest.mark.parametrize("number", [13, 15, 16, 18, 19, 20, 21])
def test_what_was_not_asked_says_so_in_one_line(text: str, number: int) -> None:
    lines = [line for line in section(text, number).splitlines()[1:] if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("Not asked in this run. ")
    assert " would" in lines[0] or "No probe" in lines[0]


def test_the_warning_comes_before_any_label(text: str, run: Run) -> None:
    warned = text.index("Content warning.")
    for question in run.questions:
        for label in question["label_sets"][0]["labels"]:
            quoted = re.search(f"[‘'`| ]{label['text']}[’'`| ]", text)
            assert quoted is not None
            assert warned < quoted.start()


def test_groups_are_counted_before_any_rate(text: str) -> None:
    # '100%' and the worked example of the reading guide are no rates of this run
    summary = text[text.index("## 1. Summary") :]
    assert summary.index("female 896, male 896") < summary.index("%")


def test_nothing_missing_is_printed(page: Page, text: str) -> None:
    words = " ".join(page.words)
    for word in ("nan", "None", "NaN", "undefined:", "NaT", "{{", "}}", "{%"):
        assert not re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", words), word
    assert "no harm" not in text


def test_the_page_fetches_nothing_and_runs_nothing(page: Page) -> None:
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "srcset", "data", "action", "background"):
            assert str(attrs.get(name, "data:")).startswith("data:image/svg+xml;base64,"[:5])
        if tag != "a":
            assert "href" not in attrs
    assert sum(tag == "img" for tag, _ in page.tags) >= 5


def test_every_contents_link_has_a_place(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert len(links) == len(SECTIONS)
    assert {link.removeprefix("#") for link in links} <= ids


def test_verdicts_are_those_of_the_findings(text: str, run: Run) -> None:
    signs = {"shown large": "▲", "shown small": "●", "cannot tell": "◇", "seen": "■"}
    summary = section(text, 1)
    for verdict, sign in signs.items():
        found = [f for f in run.findings if f["verdict"] == verdict]
        assert f"| **{sign} {verdict}** | {len(found)} |" in summary
        rows = re.findall(rf"^\| \*\*{sign} {verdict}\*\* \| \w+ \|.*\|.*`", summary, re.M)
        assert len(rows) == len(found)
    assert {f["verdict"] for f in run.findings} >= {"shown large", "shown small", "cannot tell"}


def test_every_listed_finding_names_its_evidence(text: str, run: Run) -> None:
    for finding in run.findings:
        (key,) = finding["evidence"]
        assert code(key, in_table=True) in text


def test_rates_and_gaps_are_those_of_the_tables(text: str, run: Run) -> None:
    row = run.rates.query(
        "task == 'people-occupations' and condition == 'ensemble' and label == 'doctor'"
        " and group == 'female'"
    ).iloc[0]
    cell = f"{100 * row['value']:.0f}% [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    shown = f"{cell.replace(' ', chr(0xA0))} ({row['events']})"
    assert shown in text.replace("\\", "")


def test_only_the_digits_that_an_interval_supports() -> None:
    assert [decimals(0.1, 0.2), decimals(0.01, 0.02), decimals(0.011, 0.012)] == [0, 1, 2]
    assert decimals(float("nan"), float("nan")) == 0


def test_a_rate_that_is_undefined_says_why() -> None:
    row = {"status": "undefined", "reason": "no picture", "value": np.nan}
    assert rate_in_words(pd.Series(row)) == "undefined: no picture"
    row = {"status": "too_few", "value": 0.5, "low": 0.2, "high": 0.8, "events": 2, "n": 4}
    assert rate_in_words(pd.Series(row)).replace("\u00a0", " ") == "50% [20, 80] (2; too few)"


def test_quarantined_pictures_are_counted_by_group_and_reason(text: str) -> None:
    data = section(text, 6)
    assert "**2 pictures were set aside**" in data
    assert "| gender | female | empty | 1 |" in data


def test_what_the_auditor_fills_in_is_marked(page: Page) -> None:
    blanks = [attrs for tag, attrs in page.tags if attrs.get("class") == "blank"]
    assert len(blanks) >= 8


def test_rendering_again_gives_the_same_and_leaves_nothing_else(run: Run) -> None:
    before = {p.name: p.read_bytes() for p in sorted(run.path.glob("report.*"))}
    (run.path / "figures" / "old.png").write_bytes(b"left by an earlier version")
    render(run)
    assert {p.name: p.read_bytes() for p in sorted(run.path.glob("report.*"))} == before
    names = {p.name for p in (run.path / "figures").iterdir()}
    assert "old.png" not in names
    assert {n.removesuffix(".svg") for n in names if n.endswith(".svg")} == {
        n.removesuffix(".png") for n in names if n.endswith(".png")
    }
    assert not any(n.startswith(".") for n in names)
    assert run.damaged() == []


def test_a_public_copy_renders_too(run: Run, tmp_path: Path) -> None:
    run.public_copy(tmp_path / "copy")
    assert "not known: this is a public copy" in own(run, tmp_path, CHECKS)


def test_a_changed_file_is_reported(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "suite.yaml").write_text((copy / "suite.yaml").read_text() + "# later\n")
    assert "NO, changed or missing: suite.yaml" in own(run, tmp_path, CHECKS)


def test_reporting_does_not_import_torch(run: Run) -> None:
    program = (
        "import sys; from pathlib import Path; import audit.report;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ---- templates of one's own --------------------------------------------------------------------


def own(run: Run, folder: Path, template: str) -> str:
    (folder / "mine.md").write_text(template, encoding="utf-8")
    copy = folder / "copy"
    if not copy.exists():
        shutil.copytree(run.path, copy)
    page = render(open_run(copy), folder / "mine.md")
    return page.with_suffix(".md").read_text(encoding="utf-8")


def test_a_template_of_your_own(run: Run, tmp_path: Path) -> None:
    assert own(run, tmp_path, "# Of {{ dataset.name }}\n{{ margins_table() }}").startswith(
        "# Of sample\n| Label family |"
    )


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ modle.ref }}", "'modle' is undefined"),
        ("{{ model.reff }}", "reff"),
        ("{% for x in %}", "mine.md:1"),
        ("{{ none }}", "prints a missing value"),
        ("{{ figure('pie') }}", "no figure named 'pie'"),
    ],
)
def test_a_mistake_in_a_template_is_a_sentence(
    run: Run, tmp_path: Path, template: str, says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        own(run, tmp_path, template)


def test_a_mistake_leaves_the_last_report_as_it_was(run: Run, tmp_path: Path) -> None:
    before = own(run, tmp_path, "first")
    with pytest.raises(InputError):
        own(run, tmp_path, "second {{ nothing }}")
    assert (tmp_path / "copy" / "report.md").read_text() == before == "first\n"


# ---- words from people are words ----------------------------------------------------------------

NASTY = [
    "<script>alert(1)</script>",
    "a|b",
    "*star* _under_ `tick`",
    "[link](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "&lt;b&gt;",
    "# heading",
    "1. item",
    "back\\slash",
    "{{ run.path }}",
    "two\nlines",
    "clothing_colour",
]


@pytest.mark.parametrize("words", NASTY)
@pytest.mark.parametrize("around", ["{}", "so {} it is", "| head |\n| --- |\n| {} |"])
def test_words_are_shown_as_they_are(words: str, around: str) -> None:
    page = Page(to_html(around.format(escaped(words)), {}))
    assert " ".join(words.split()) in " ".join("".join(page.words).split())
    body = [tag for tag, _ in page.tags[page.tags.index(("main", {})) :]]
    assert set(body) <= {"main", "p", "div", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("words", NASTY)
def test_code_is_shown_as_it_is(words: str) -> None:
    for text in (code(words), f"| head |\n| --- |\n| {code(words, in_table=True)} |"):
        page = Page(to_html(text, {}))
        assert " ".join(words.split()) in "".join(page.words)


def test_no_picture_from_elsewhere_is_shown() -> None:
    page = to_html("![words](http://example.org/x.png) <img src=x onerror=alert(1)>", {})
    assert not any(tag == "img" for tag, _ in Page(page).tags)


def test_a_nasty_label_set_ends_as_text(tmp_path: Path) -> None:
    table = people(tmp_path, 160)
    labels = tmp_path / "labels.yaml"
    names = ["<script>alert(1)</script>", "a|b *c*"]
    labels.write_text(
        "name: <b>nasty</b>\nversion: 1\npurpose: to be <i>nasty</i>\nsource: this test\n"
        f"licence: CC0-1.0\nlabels: {json.dumps(names)}\n"
    )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: nasty\nmodel: planted\ndataset: card.yaml\nattributes: [gender]\n"
        "probes: [{kind: classification, label_set: labels.yaml, templates: bare}]\n"
    )
    texts = dict(zip(load_label_set(str(labels)).texts, np.eye(2), strict=True))
    images = {}
    for _, row in table.iterrows():
        images[_key(tmp_path / row["path"])] = np.eye(2)[int(row["gender"] == "female")] + 0.1
    encoder = PlantedEncoder(images, texts)
    store = Store(tmp_path / "cache")
    done = carry_out(load_suite(str(suite)), tmp_path / "runs", store, lambda: encoder)
    html = render(done).read_text(encoding="utf-8")
    page = Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "b", "i"} == set()
    words = "".join(page.words)
    assert "‘<script>alert(1)</script>’" in words
    assert "‘a|b *c*’" in words
    assert "<b>nasty</b>" in words
    for number in (12, 14, 17):
        text = (done.path / "report.md").read_text(encoding="utf-8")
        assert "Not asked in this run." in section(text, number)


def _key(path: Path) -> object:
    from PIL import Image

    with Image.open(path) as picture:
        return picture_key(picture)
