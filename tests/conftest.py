"""Every test runs without a network, a home folder or a screen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from audit.embeddings import Store
from audit.models.huggingface import load
from audit.run import carry_out
from audit.rundir import Run
from audit.suite import load_suite

os.environ.setdefault("MPLBACKEND", "agg")
# --hypothesis-profile by-hand: as many random suites as a person has the time for
settings.register_profile("by-hand", max_examples=300, print_blob=True)
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Connections leave this machine nowhere; loopback stays for the notebook kernel and pages."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> object:
        host = address[0] if isinstance(address, tuple) else ""
        if isinstance(address, tuple) and host not in ("127.0.0.1", "localhost", "::1"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--screenshots FOLDER`` keeps the pictures of the dashboard that the docs show."""
    parser.addoption("--screenshots", type=Path, help="folder for pictures of the dashboard")


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures of the dashboard go; nowhere that lasts unless asked."""
    folder: Path = request.config.getoption("--screenshots") or tmp_path / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """An empty folder for a small world."""
    return tmp_path / "world"


@pytest.fixture(scope="session")
def quick_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The suite 'quick' carried out on both specimens, once for all tests."""
    folder = tmp_path_factory.mktemp("quick")
    store = Store(folder / "cache")
    runs = {}
    for name in ("specimen-even", "specimen-skewed"):
        suite = load_suite("quick", model=name)
        runs[name] = carry_out(suite, folder / "runs", store, lambda name=name: load(name, "cpu"))
    return runs
