"""Ray as a launcher: what is refused before it begins, and real workers where Ray is installed."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from audit.core.errors import InputError
from audit.scale import on_ray
from audit.scale.launch import have_done
from audit.scale.on_ray import OnRay
from audit.scale.units import Ledger, Plan, Unit


def begin(launch: OnRay) -> None:
    list(launch([Unit(1, 1)], print))


def test_without_ray_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"^Ray is not installed\. pip install 'clip-audit\[ray\]'"
    ):
        begin(OnRay())


@pytest.mark.parametrize("address", ["nowhere", "host", "host:", "host:x", "http://host:1", ""])
def test_what_is_no_address_is_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: True)
    with pytest.raises(InputError, match=r"which is no address\. Write HOST:PORT, ray://HOST:PORT"):
        begin(OnRay(address))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_a_sentence(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again once the block is left
    with pytest.raises(
        InputError, match=rf"^cluster '{scheme}127\.0\.0\.1:{port}': nobody answers"
    ):
        begin(OnRay(f"{scheme}127.0.0.1:{port}"))


def test_statistics_are_switched_off_before_ray_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(on_ray, "find_spec", lambda name: True)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    (tmp_path / "ray.py").write_text(
        "import os\nassert os.environ['RAY_USAGE_STATS_ENABLED'] == '0'"
        "\ndef shutdown(): pass\n"
        "def init(*given, **named): raise ValueError('a\\nb')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"^Ray at 'local' can't be used: a\. If it wants a token"):
        begin(OnRay())
    monkeypatch.delitem(sys.modules, "ray", raising=False)


@dataclass(frozen=True)
class Dying:
    """Work whose first worker dies before or after it noted a unit."""

    ledger: Ledger

    def __call__(self, unit: Unit) -> None:
        died = self.ledger.folder / f"died-{unit.number}"
        first = unit.number < 3 and not died.exists()
        if first:
            died.write_text(os.environ.get("RAY_USAGE_STATS_ENABLED", ""))
        if unit.number != 1 or not first:
            self.ledger.note(unit, self.ledger.plan.pictures[unit.number - 1], 0)
        if first:
            os._exit(9)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra 'ray')")
def test_real_workers_that_die_are_replaced_and_nothing_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(here))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ledger = Ledger(tmp_path / "ledger", Plan.of({}, map(str, range(40)), 4))
    with pytest.warns(UserWarning, match="its worker was lost"):
        left = have_done(ledger, OnRay(workers=2), Dying(ledger), lambda done, total: None)
    assert left == []
    died = {p.name: p.read_text() for p in ledger.folder.glob("died-*")}
    assert died == {"died-1": "0", "died-2": "0"}  # as all that Ray starts is told, too
    other = Ledger(tmp_path / "ledger", Plan.of({"another": "plan"}, map(str, range(40)), 1))
    wrong = OnRay(workers=1, version="0.0.1")
    with pytest.raises(InputError, match=r"^unit 1/1: the worker on .* and this is 0\.0\.1\."):
        have_done(other, wrong, Dying(other), lambda done, total: None)
