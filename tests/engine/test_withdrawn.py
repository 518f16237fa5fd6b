"""Withdrawn consent: who is left out, what is deleted, and which earlier runs say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import audit
from audit.cli.verbs import app
from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.data.dataset import Dataset, load
from audit.engine.consent import require_same_pictures, withdrawn_since
from audit.report.render import _consent
from audit.store.embeddings import Store
from audit.store.uses import Uses

CARD = """\
name: mine
manifest: people.csv
id_column: id
cluster_column: person
attributes: {gender: {source: self-reported}}
"""
ROWS = """\
path,id,person,gender
photos/a.jpg,001,p1,woman
photos/b.jpg,002,p1,woman
photos/c.jpg,003,p2,man
"photos/d.jpg#xywh=0,4,8,8",004,p3,man
photos/e.jpg,005,003,man
"""
SUITE = """\
name: s
model: specimen-even
dataset: card.yaml
attributes: [gender]
probes: [{kind: classification, label_set: people-gender}]
"""


def made(folder: Path, listed: str | None = None, key: str = "", name: str = "") -> Path:
    (folder / "people.csv").write_text(ROWS)
    (folder / "card.yaml").write_text(CARD + key)
    (folder / "suite.yaml").write_text(SUITE)
    if listed is not None:
        (folder / (name or "withdrawn.txt")).write_text(listed)
    return folder / "card.yaml"


def finished(folder: Path, data: Dataset) -> Run:
    """What a run leaves of its pictures."""
    (folder / "private").mkdir(parents=True)
    (folder / "suite.yaml").write_text(f"dataset: {data.root / 'card.yaml'}\n")
    data.table[["image_id", "cluster_id"]].to_parquet(folder / "private" / "groups.parquet")
    return Run(folder, {"run": "r", "files": {}, "dataset_digest": data.digest})


def said(*words: str) -> tuple[int, str]:
    """Exit code and output, a refusal being its sentence."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    if isinstance(result.exception, InputError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, " ".join(result.output.split())


# --- who is left out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ("001", ["002", "003", "004", "005"]),
        ("p1", ["003", "004", "005"]),
        ("photos/c.jpg", ["001", "002", "004", "005"]),
        ("photos\\c.jpg", ["001", "002", "004", "005"]),
        ("photos/d.jpg", ["001", "002", "003", "005"]),  # the whole picture names its regions
        ("003", ["001", "002", "004"]),  # a picture, and another's subject
        ("# 001", ["001", "002", "003", "004", "005"]),
    ],
)
def test_an_id_a_path_and_a_subject_are_left_out(
    entry: str, left: list[str], tmp_path: Path
) -> None:
    assert list(load(made(tmp_path, f"\n{entry}\n")).table["image_id"]) == left


def test_they_are_counted_and_change_the_digest_and_are_not_named(tmp_path: Path) -> None:
    whole = load(made(tmp_path))
    data = load(made(tmp_path, "p1\n003\nnobody\n"))
    assert data.digest != whole.digest
    (text,) = [r.text for r in data.remarks if "consent" in r.text]
    assert text.startswith("4 pictures of 3 subjects are left out")
    assert "of its 3 entries 1 name nothing here" in text
    assert "of its 3 entries 1 name a picture and another subject" in text
    assert "nobody" not in text
    assert data.withdrawn is not None
    assert "1 of 3 entries name nothing here: 'nobody'" in str(data.withdrawn.unmatched_in_words())


def test_a_list_that_names_nobody_here_changes_no_digest(tmp_path: Path) -> None:
    whole = load(made(tmp_path)).digest
    assert load(made(tmp_path, "nobody\n")).digest == whole
    assert load(made(tmp_path, "nobody\n", "withdrawn: gone.txt\n", "gone.txt")).digest == whole


def test_lists_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no list of withdrawn consent .*gone\.txt"):
        load(made(tmp_path, key="withdrawn: gone.txt\n"))
    with pytest.raises(InputError, match="names every picture"):
        load(made(tmp_path, "p1\np2\np3\n003\n"))
    (made(tmp_path).parent / "withdrawn.txt").write_bytes("é".encode("utf-16"))
    with pytest.raises(InputError, match="is not UTF-8"):
        load(tmp_path)


def test_a_named_source_reads_the_list_in_its_root(tmp_path: Path) -> None:
    for name in ("man/1.png", "man/2.png", "woman/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "withdrawn.txt").write_text("man/2.png")
    keys = {"name": "image-folder", "root": str(tmp_path), "source": "assigned"}
    data = audit.load_dataset(keys)
    assert list(data.table["image_id"]) == ["man/1.png", "woman/1.png"]
    assert not any("set aside" in r.text for r in data.remarks)


# --- earlier runs ------------------------------------------------------------------------------


def test_an_earlier_run_says_that_it_used_them(tmp_path: Path) -> None:
    data = load(made(tmp_path))
    run = finished(tmp_path / "run", data)
    assert withdrawn_since(run) is None
    require_same_pictures(run, data)
    made(tmp_path, "photos/c.jpg")  # known by the data set alone: the run has ids
    told = str(withdrawn_since(run))
    assert told.startswith("run used pictures of people who have withdrawn their consent since")
    assert "clip-audit purge --withdrawn SUITE" in told
    assert told.split(".")[0] in _consent(run)
    with pytest.raises(InputError, match="withdrawn their consent"):
        require_same_pictures(run, load(tmp_path))


def test_a_run_without_them_and_one_whose_data_are_gone_say_nothing(tmp_path: Path) -> None:
    made(tmp_path, "p1")
    run = finished(tmp_path / "run", load(tmp_path))
    assert withdrawn_since(run) is None
    assert _consent(run) == ""
    (tmp_path / "card.yaml").unlink()
    assert withdrawn_since(run) is None


def test_a_copy_without_rows_says_that_it_may_have_used_them(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", load(made(tmp_path)))
    (tmp_path / "run" / "private" / "groups.parquet").unlink()
    assert withdrawn_since(run) is None
    made(tmp_path, "p2")
    assert str(withdrawn_since(run)).startswith("run may have used pictures")
    without = Run(run.path, {**run.manifest, "dataset_digest": load(tmp_path).digest})
    assert withdrawn_since(without) is None


def test_a_row_that_was_deleted_too_is_found_by_its_id(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", load(made(tmp_path)))
    made(tmp_path, "p2")
    (tmp_path / "people.csv").write_text(ROWS.replace("photos/c.jpg,003,p2,man\n", ""))
    assert withdrawn_since(run)


def test_a_public_copy_says_what_its_original_knew(tmp_path: Path) -> None:
    run = Run(tmp_path, {"public": True, "withdrawn": "r used pictures."})
    assert withdrawn_since(run) == "r used pictures."
    assert withdrawn_since(Run(tmp_path, {"public": True})) is None


# --- the store ---------------------------------------------------------------------------------


def stored(folder: Path, data: Dataset) -> Path:
    """A store that knows of a data set's pictures."""
    Store(folder).open()
    clusters = dict(zip(data.table["image_id"], data.table["cluster_id"], strict=True))
    uses = Uses(folder / "embeddings" / "datasets", data.name, clusters)
    uses.add((i, f"{n:064x}", "") for n, i in enumerate(data.table["image_id"]))
    return folder


def kept(folder: Path) -> set[str]:
    uses = Uses(folder / "embeddings" / "datasets", "mine", {})
    return {use.image_id for _, of in uses._files() for use in of}


def test_purging_those_who_withdrew(tmp_path: Path) -> None:
    cache = stored(tmp_path / "cache", load(made(tmp_path)))
    purge = ("purge", "--cache", cache, "--withdrawn", tmp_path / "suite.yaml")
    code, told = said(*purge)
    assert code == 2
    assert "'mine' has no list of withdrawn consent" in told
    made(tmp_path, "p1\nphotos/c.jpg\nnobody\n")
    code, told = said(*purge)
    assert code == 0
    assert "1 of 3 entries name nothing here: 'nobody'" in told
    assert kept(cache) == {"004", "005"}


@pytest.mark.slow
def test_purging_what_is_not_there_is_refused(tmp_path: Path) -> None:
    cache = stored(tmp_path / "cache", load(made(tmp_path)))
    purge = ("purge", "--cache", cache)
    code, told = said(*purge, "--dataset", "mein")
    assert code == 2
    assert "holds nothing of a data set named 'mein'" in told
    code, told = said(*purge, "--dataset", "mine", "--subject", "p1", "--subject", "p9")
    assert code == 2
    assert "of 2 subjects of 'mine' 1 are not in" in told
    assert "'p9'" in told
    assert kept(cache) == {"003", "004", "005"}
    assert said(*purge, "--dataset", "mine")[0] == 0
    assert kept(cache) == set()
    assert said(*purge)[0] == said(*purge, "--dataset", "x", "--withdrawn", "y")[0] == 2
