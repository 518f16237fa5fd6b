"""Tables made by another process are those of this one, to the last bit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest
import worlds
from test_run import planted_world

from audit.core.errors import AuditError
from audit.core.rundir import TABLES
from audit.engine import cores
from audit.engine.analysis import Answer, Tables, analyse
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.probes.kit.base import Design
from audit.store.embeddings import Store
from audit.store.processes import started

ASKED = "classification, label_set: people-suspicion"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> cores._Work:
    """Two probes' answers, and what the comparison of each rests on."""
    folder = tmp_path_factory.mktemp("cores") / "world"
    _, encoder = planted_world(folder, 60)
    path = worlds.suite_file(folder, "people-suspicion", min_group=5)
    probe = next(line for line in path.read_text().splitlines() if ASKED in line)
    again = probe.replace(ASKED, f"{ASKED}, name: again")
    path.write_text(path.read_text().replace(probe, f"{probe}\n{again}"))
    suite = load_suite(str(path))
    few = suite.confidence.model_copy(update={"resamples": 50})
    met: dict[str, tuple[Answer, Design]] = {}

    def noted(answer: Answer, design: Design) -> Tables:
        met[answer.probe.task] = answer, design
        return analyse(answer, design)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cores, "analyse", noted)
        suite = suite.model_copy(update={"confidence": few})
        carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)
    assert sorted(met) == ["again", "people-suspicion"]
    designs = {id(answer): design for answer, design in met.values()}
    return cores._Work([a for a, _ in met.values()], lambda answer: designs[id(answer)])


def anew(work: cores._Work) -> cores._Work:
    return cores._Work(work.answers, work.design)


def assert_same(tables: Tables, answer: Answer, design: Design) -> None:
    alone = analyse(answer, design)
    assert len(alone.rates)
    for name in TABLES:
        made = getattr(tables, name)
        pd.testing.assert_frame_equal(made, getattr(alone, name), check_exact=True)


@pytest.mark.slow
def test_another_process_makes_the_same_tables(work: cores._Work) -> None:
    work = anew(work)
    with started(1, cores.Analyst()) as processes:
        assert processes is not None
        cores._take_jobs(work, processes)
    assert sorted(work.tables) == [0, 1]
    for i, answer in enumerate(work.answers):
        assert_same(work.tables[i], answer, work.design(answer))


@pytest.mark.slow
def test_what_no_helper_can_do_is_done_here(
    work: cores._Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def ask(self, method: str, sent: bytes) -> None:
            answer, _, metrics = pickle.loads(sent)
            with pytest.raises(AuditError, match="registered"):
                cores.Analyst().analyse(pickle.dumps((answer, _, metrics[1:])))
            with pytest.raises(KeyError, match="never read"):
                answer.seen.texts.encode(["never read"])
            with pytest.raises(AuditError, match="where the model is"):
                answer.seen.encode([Path("x.png")])
            raise AuditError("killed")

    lost = anew(work)
    cores._take_jobs(lost, Lost())  # type: ignore[arg-type]
    assert lost.tables == {}
    monkeypatch.setattr(cores, "_wanted", lambda answers: 1)
    monkeypatch.setattr(cores, "packed", lambda what: b"")
    done: list[int] = []
    tables = cores.analyse_all(work.answers, work.design, done.append)
    assert done[-1] == len(tables) == 2
    assert_same(tables[0], work.answers[0], work.design(work.answers[0]))


def test_helpers_come_where_there_is_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked:
        def __init__(self, pictures: int, tally: object = ()) -> None:
            self.tally = tally
            self.seen = self.images = self
            self.keys = range(pictures)

    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.delenv("CLIP_AUDIT_READERS", raising=False)
    for answers, expected in (
        ([Asked(3000)] * 8, 3),
        ([Asked(3000)] * 2, 1),
        ([Asked(9000)], 0),
        ([Asked(9000, None)] * 8, 0),
        ([Asked(600)] * 8, 0),
        ([Asked(600), Asked(30_000)], 0),
    ):
        assert cores._wanted(answers) == expected  # type: ignore[arg-type]
    monkeypatch.setenv("CLIP_AUDIT_READERS", "0")
    assert cores._wanted([Asked(3000)] * 8) == 0  # type: ignore[list-item]
