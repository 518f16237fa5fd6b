"""Every test runs without a network, a home folder or a screen."""

from __future__ import annotations

import gc
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shared
from hypothesis import settings

if TYPE_CHECKING:  # all else that is dear to import is imported where it is used
    from audit.core.rundir import Run

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("CLIP_AUDIT_READERS", "0")  # the other core has tests of its own
gc.disable()  # until all tests are found: what is imported stays
# --hypothesis-profile by-hand: as many random suites as a person has the time for
settings.register_profile("by-hand", max_examples=300, print_blob=True)
os.environ["HF_HUB_OFFLINE"] = "1"


def _complete_torchvision() -> object:
    """Declare two operators that torchvision asks torch for, where its compiled part is missing.

    PyPI has torchvision for CUDA only; beside a torch for CPUs it can't be imported without them,
    nor what imports it if it is there: open_clip and a part of transformers. No test calls them.
    """
    if find_spec("torchvision") is None or "+" in version("torchvision"):
        return None
    import torch

    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


_TORCHVISION = _complete_torchvision()  # as long as this lives, torch knows them
MadeOnce = Callable[[str, Callable[[Path], object]], Path]
SPECIMENS = ("specimen-even", "specimen-skewed")


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


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed and neither laid out nor painted: for what is told in words."""
    from audit.report import render as report

    def composed(figure: Any, of: tuple[str, ...]) -> report.Drawn:
        return report.Drawn(b"", b"", str(figure.get_label()), of)

    monkeypatch.setattr(report, "_drawn", composed)


#: what takes so long to make that every test which needs it is slow; a file may have its own
DEAR = {"quick_runs"}


def _needs_dear(item: pytest.Item) -> bool:
    of_file = getattr(getattr(item, "module", None), "DEAR", set())
    return bool((DEAR | of_file) & set(getattr(item, "fixturenames", ())))


@pytest.hookimpl(tryfirst=True)  # before '-m' chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is slow if what it needs is; those come first, so that one worker has them."""
    dear = [item for item in items if _needs_dear(item)]
    for item in dear:
        item.add_marker("slow")
    first = set(dear)
    items.sort(key=lambda item: item not in first)


def pytest_collection_finish() -> None:
    """Rubbish is looked for again, in what the tests make: Streamlit does after every page."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    shared.share_in(tmp_path_factory)


@pytest.fixture(scope="session")
def made_once() -> MadeOnce:
    """A folder that the first worker to need it fills; all others wait for it and share it."""
    return shared.made_once


def carry_out_quick(folder: Path) -> None:
    """The suite 'quick' on both specimens, and what they embedded."""
    from audit.engine.run import carry_out
    from audit.engine.suite import load_suite
    from audit.models.huggingface import load
    from audit.store.embeddings import Store

    store = Store(folder / "cache")
    for name in SPECIMENS:
        suite = load_suite("quick", model=name)
        carry_out(suite, folder / "runs", store, lambda name=name: load(name, "cpu"))


@pytest.fixture(scope="session")
def quick_runs(made_once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The suite 'quick' carried out on both specimens, once for all tests; a copy each worker."""
    from audit.core.rundir import runs_in

    own = tmp_path_factory.mktemp("quick")
    shutil.copytree(made_once("quick", carry_out_quick), own, dirs_exist_ok=True)
    return {str(run.manifest["model"]): run for run in runs_in(own / "runs")}
