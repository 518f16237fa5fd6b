"""The main ways through the dashboard in a real browser; skipped where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import test_figures
from test_dashboard import FOLDER

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install playwright, for the browser tests"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
#: what would make the whole page scroll sideways
TOO_WIDE = """() => {
    const page = document.querySelector('[data-testid=stMain]');
    if (page.scrollWidth <= page.clientWidth + 2) return [];
    return [...page.querySelectorAll('*')]
        .filter(e => e.getBoundingClientRect().right > page.getBoundingClientRect().right + 2)
        .map(e => `${e.tagName} ${e.dataset.testid || e.className}`.slice(0, 80)).slice(0, 5);
}"""
VIEWS = ("", "lab", "disparities", "wordings", "compare", "probes")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A dashboard as the command starts it, on a free port."""
    run = test_figures.sample_run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--server.address", "localhost", "--server.port", str(port)]
    options += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    app = str(FOLDER / "app.py")
    command = [sys.executable, "-m", "streamlit", "run", app, *options, "--", str(run.path.parent)]
    here = {**os.environ, "CLIP_AUDIT_CACHE": str(run.path.parents[1] / "cache")}
    server = subprocess.Popen(command, env=here, stdout=subprocess.DEVNULL)
    try:
        found = f"http://localhost:{port}"
        wait_for(f"{found}/_stcore/health")
        yield found
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def settled(page: Any) -> None:
    page.wait_for_selector("h1")
    page.wait_for_timeout(700)
    page.wait_for_selector('[data-testid="stStatusWidget"]', state="detached", timeout=60_000)
    page.wait_for_timeout(500)


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_asks_nobody_else(address: str, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in VIEWS:
        page.goto(f"{address}/{view}")
        settled(page)
        assert not page.query_selector('[data-testid="stException"]')
        assert page.evaluate(TOO_WIDE) == [], view
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    page.close()


def test_words_are_typed_and_answered_and_stay_words(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("dialog", lambda dialog: pytest.fail(f"a label was run: {dialog.message}"))
    page.goto(f"{address}/lab")
    settled(page)
    labels = page.get_by_role("textbox", name="Labels, one a line")
    lines = labels.input_value().splitlines()
    labels.fill("\n".join(lines[1:]))
    labels.press("Control+Enter")
    page.wait_for_selector("text=answered otherwise than with the saved set")
    settled(page)
    labels.fill("\n".join([*lines, "<img src=x onerror=alert(1)>"]))
    labels.press("Control+Enter")
    page.wait_for_selector('[data-testid="stAlert"]')  # no model for new words in this test
    assert not page.query_selector("img[src=x]")
    page.close()


def test_it_is_served_on_this_machine_only(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    # whoever listens on every address would hold this one too
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))
