"""The page of pictures: nothing before it is asked for, nothing but what may be shown."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pages import AppTest
from PIL import Image
from test_dashboard import FOLDER, box, said, tables
from test_gallery import CARD, elsewhere, made, shown
from typer.testing import CliRunner

from audit.cli.verbs import app
from audit.core.files import digest_of
from audit.core.rundir import Run, open_run
from audit.data.dataset import load

NASTY = "<script>alert(1)</script> | **b** $x$ :red[r] [l](http://e.org)"


def opened(
    run: Run, monkeypatch: pytest.MonkeyPatch, *more: str, confirm: bool = True, view: str = ""
) -> AppTest:
    """The page of a run, confirmed unless a test looks at what comes first."""
    monkeypatch.setattr(sys, "argv", ["app.py", str(run.path), *more])
    monkeypatch.setenv("CLIP_AUDIT_CACHE", str(run.path.parents[1] / "cache"))
    page = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    page.switch_page("views/pictures.py").run()
    if confirm:
        page.checkbox[0].check().run()
    if view:
        page.radio[0].set_value(view).run()
    assert not page.exception
    return page


def markup(page: AppTest) -> str:
    return "\n".join(str(element.proto.body) for element in page.get("html"))


def images(page: AppTest) -> list[tuple[str, np.ndarray]]:
    """Alternative text and pixels of every picture on the page."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/jpeg;base64,([^"]*)"', markup(page))
    assert len(found) == markup(page).count("<img")
    return [
        (alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), float))
        for alt, data in found
    ]


def is_clear(pixels: np.ndarray) -> bool:
    """Neighbouring pixels of the drawn pictures differ by far; of blurred ones hardly."""
    return float(np.abs(np.diff(pixels, axis=1)).mean()) > 20


def photographs(tmp_path: Path, **card: object) -> Run:
    return elsewhere(made(), tmp_path, photographs=True, **card)


# ---- before anything is shown ------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_shown_before_the_reader_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch, confirm=False)
    assert "Content warning" in page.warning[0].value
    assert not images(page)
    assert not [b for b in page.selectbox if b.label != "Run"]
    page.checkbox[0].check().run()
    assert images(page)
    page.checkbox[0].uncheck().run()
    assert not images(page)


@pytest.mark.slow
def test_what_was_confirmed_holds_for_the_session_and_this_run_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = elsewhere(made(), tmp_path)
    other = run.path.with_name(run.name.replace("20", "19", 1))
    shutil.copytree(run.path, other)
    facts = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(facts | {"started": "2019-01-01T00:00:00"}))
    monkeypatch.setattr(sys, "argv", ["app.py", str(run.path.parent)])
    page = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60).run()
    page.switch_page("views/pictures.py").run()
    page.checkbox[0].check().run()
    assert images(page)
    page.switch_page("views/overview.py").run()
    page.switch_page("views/pictures.py").run()
    assert images(page)
    box(page, "Run").set_value(other.name).run()
    assert not images(page)
    box(page, "Run").set_value(run.name).run()
    assert images(page)


# ---- the switch --------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_switch_takes_the_page_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def titles(*more: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["app.py", str(made().path), *more])
        seen = []
        monkeypatch.setattr("streamlit.Page", lambda file, **k: seen.append(file) or _Page())
        monkeypatch.setattr("streamlit.navigation", lambda pages: pages[0])
        AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60).run()
        return seen

    assert "views/pictures.py" in titles()
    off = titles("--no-pictures")
    assert "views/overview.py" in off
    assert "views/pictures.py" not in off


class _Page:
    def run(self) -> None:
        """A page that draws nothing."""


@pytest.mark.slow
@pytest.mark.parametrize(("option", "given"), [((), False), (("--no-pictures",), True)])
def test_the_command_hands_the_switch_on(
    option: tuple[str, ...], given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda command, env: called.append(command) or 0)
    result = CliRunner().invoke(app, ["dashboard", str(made().path), *option])
    assert result.exit_code == 0
    (command,) = called
    assert ("--no-pictures" in command) is given


# ---- labelled so -------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_are_the_runs_counts_and_pictures_are_blurred(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = opened(made(), monkeypatch)
    box(page, "Question").set_value("people-occupations").run()
    gallery = shown(made())
    label = box(page, "Label").value
    box(page, "By").set_value("colour").run()
    for rate in gallery.counted("people-occupations", label, "colour").itertuples():
        if rate.events:
            assert f"{rate.group}** · chosen for {rate.events} of {rate.n} pictures" in said(page)
        else:
            assert f"{rate.group} (0 of {rate.n})" in said(page)
    assert "annotator-perceived" in said(page)
    found = images(page)
    assert found
    assert not any(is_clear(pixels) for _, pixels in found)
    assert all(re.match(r"blurred picture \d+: .*labelled .*, score ", alt) for alt, _ in found)
    page.toggle[0].set_value(True).run()
    assert all(is_clear(pixels) for _, pixels in images(page))


@pytest.mark.slow
def test_more_of_a_group_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch)
    box(page, "Question").set_value("people-occupations").run()
    box(page, "By").set_value("everyone").run()
    before = len(images(page))
    assert before == 6
    (button,) = [b for b in page.button if "more of everyone" in b.label]
    count = int(button.label.split()[0])
    button.click().run()
    assert len(images(page)) == before + count


@pytest.mark.slow
def test_pictures_come_in_the_order_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch)
    box(page, "By").set_value("everyone").run()
    for order, highest in (("highest score", True), ("lowest score", False)):
        box(page, "Sorted by").set_value(order).run()
        scores = [float(re.search(r"score ([\d.]+)%", alt)[1]) for alt, _ in images(page)]
        assert len(scores) > 2
        assert scores == sorted(scores, reverse=highest)


# ---- in other words, one thing changed ---------------------------------------------------------


@pytest.mark.slow
def test_a_picture_is_told_in_every_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch, view="Under other wordings")
    box(page, "Question").set_value("people-occupations").run()
    page.text_input[0].set_value("picture 3").run()
    (rows,) = tables(page)
    stored = shown(made()).wordings("people-occupations", "pictures/2.png")
    assert [row[0] for row in rows[:3]] == stored["wording"].tolist()
    assert [row[1].removeprefix("≠ ") for row in rows[:3]] == stored["label"].tolist()
    assert rows[3][0] == "a photo of a {}., article absent"
    same = sum(row[1] == rows[0][1] for row in rows[1:])
    assert f"{same} of 3 other ways to ask" in said(page)
    assert "gender: female (generator)" in said(page)


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["../card.yaml", "/etc/passwd", "<b>x</b>", "picture 99"])
def test_no_picture_but_the_runs_own_can_be_asked_for(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(made(), monkeypatch, view="Under other wordings")
    page.text_input[0].set_value(asked).run()
    assert not page.exception
    assert not images(page)
    assert "is no picture that this run asked about" in page.info[0].value


@pytest.mark.slow
def test_another_picture_is_one_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch, view="Under other wordings")
    seen = set()
    for _ in range(6):
        page.button[0].click().run()
        seen.add(page.text_input[0].value)
        assert len(images(page)) == 1
    assert len(seen) > 1
    assert seen <= set(shown(made()).names.values())


@pytest.mark.slow
def test_a_family_stands_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(made(), monkeypatch, view="Counterfactual families")
    box(page, "Family").set_value("f3").run()
    label = box(page, "Label").value
    rows = shown(made()).family("f3", "people-occupations, counterfactual", label)
    text = markup(page)
    assert [len(images(page)), text.count("<section")] == [4, 3]
    for title in ("unchanged", "tone", "light"):
        assert f">{title}</div>" in text
    for row in rows.iloc[1:].itertuples():
        assert f"change {row.change:+.3f}" in text
    assert "tone: -30" in text


@pytest.mark.slow
def test_without_families_there_is_no_place_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = opened(elsewhere(made(), tmp_path, column="changed"), monkeypatch)
    assert page.radio[0].options == ["Labelled so", "Under other wordings"]


# ---- real people -------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_real_people_one_picture_at_a_time_is_clear(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = opened(photographs(tmp_path), monkeypatch)
    assert not page.toggle
    one = box(page, "Show one picture clearly")
    one.set_value(shown(made()).find(one.options[2])).run()
    clear = [alt for alt, pixels in images(page) if is_clear(pixels)]
    assert len(clear) == 1
    assert clear[0].startswith(f"{one.options[2]}: ")
    assert len(images(page)) > 1


@pytest.mark.slow
def test_real_people_are_not_listed_by_suspicion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = opened(photographs(tmp_path), monkeypatch)
    assert box(page, "Question").value != "people-suspicion"  # it begins where something is shown
    for view in ("Labelled so", "Under other wordings"):
        page.radio[0].set_value(view).run()
        for task in ("people-suspicion", "mixed"):
            box(page, "Question").set_value(task).run()
            assert not images(page)
            assert "no real person is shown by them" in said(page)
            told = [str(link.proto) for link in page.get("page_link")]
            assert sum('page: "disparities"' in link for link in told) == 2  # one is in the menu


@pytest.mark.slow
def test_a_file_name_is_told_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = opened(photographs(tmp_path), monkeypatch)
    assert ".png" not in said(page) + markup(page)
    page.radio[0].set_value("Under other wordings").run()
    assert ".png" not in said(page) + markup(page)
    (ask,) = [t for t in page.toggle if t.label == "Tell its file name"]
    ask.set_value(True).run()
    assert "pictures/0.png" in said(page)


# ---- what can't be shown -----------------------------------------------------------------------


@pytest.mark.slow
def test_what_cannot_be_shown_gives_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made().copy_without_private(tmp_path / "copy")
    for run, why in (
        (open_run(tmp_path / "copy"), "public copies and runs of earlier versions lack them"),
        (elsewhere(made(), tmp_path / "a", named_people=True), "named people"),
        (elsewhere(made(), tmp_path / "b", agreed=False, licence="x"), "has changed since"),
    ):
        page = opened(run, monkeypatch, confirm=False)
        assert why in said(page)
        assert not page.error
        assert not page.checkbox
        assert not images(page)


@pytest.mark.slow
def test_a_picture_that_is_gone_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = elsewhere(made(), tmp_path)
    label = "doctor"
    page = opened(run, monkeypatch)
    box(page, "Question").set_value("people-occupations").run()
    box(page, "Label").set_value(label).run()
    before = len(images(page))
    gallery = shown(run)
    gone = gallery.labelled("people-occupations", label, box(page, "By").value)["image_id"].iloc[0]
    (gallery.dataset.root / gone).unlink()
    page.toggle[0].set_value(True).run()
    assert len(images(page)) == before - 1
    assert f"{gallery.names[gone]}: its file is missing" in markup(page)


@pytest.mark.slow
def test_names_stay_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = CARD | {"id_column": "id"}
    run = elsewhere(made(), tmp_path)
    private = run.path / "private"
    renamed = {"pictures/1.png": NASTY}
    files = [private / "groups.parquet", *(private / "outcomes").glob("*.parquet")]
    for file in files:
        table = pd.read_parquet(file).replace(renamed).replace({"doctor": NASTY, "red": NASTY})
        table.to_parquet(file, index=False)
    rates = pd.read_parquet(run.path / "rates.parquet").replace({"doctor": NASTY, "red": NASTY})
    rates.to_parquet(run.path / "rates.parquet", index=False)
    questions = (run.path / "questions.json").read_text().replace('"doctor"', json.dumps(NASTY))
    (run.path / "questions.json").write_text(questions)
    root = run.path.parents[1]
    people = pd.read_csv(root / "people.csv").assign(id=lambda t: t["path"].replace(renamed))
    people.to_csv(root / "people.csv", index=False)
    sealed(run, [*files, run.path / "rates.parquet", run.path / "questions.json"], card)
    page = opened(open_run(run.path), monkeypatch)
    box(page, "Question").set_value("people-occupations").run()
    box(page, "Label").set_value(NASTY).run()
    box(page, "By").set_value("colour").run()
    texts = [markup(page)]
    page.radio[0].set_value("Under other wordings").run()
    page.text_input[0].set_value(NASTY).run()
    texts.append(markup(page))
    for text in texts:
        assert "&lt;script&gt;" in text
        assert "<script" not in text
    for element in page.markdown:
        assert not re.search(r"(?<!\\)<\s*script|(?<!\\)\]\(http", str(element.value))


def sealed(run: Run, files: list[Path], card: dict[str, object]) -> None:
    """Seal a run again after its files and its data set's card were changed."""
    place = run.path.parents[1] / "card.yaml"
    place.write_text(yaml.safe_dump(card))
    facts = json.loads((run.path / "manifest.json").read_text())
    facts["files"] |= {str(f.relative_to(run.path)): digest_of(f) for f in files}
    facts["dataset_digest"] = load(str(place)).digest
    (run.path / "manifest.json").write_text(json.dumps(facts))
