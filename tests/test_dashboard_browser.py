"""The main ways through the dashboard in a real browser; skipped, and told why, without one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_dashboard import FOLDER

from audit.core.rundir import Run

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install playwright, for the browser tests"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: ‘make browser’ installs it")
HERE = Path(__file__).parent / "browser"
TOO_WIDE, TOO_PALE = ((HERE / f"{name}.js").read_text() for name in ("too_wide", "too_pale"))
GROUND = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
VIEWS = (
    "", "disparities", "wordings", "compare", "lab", "pictures", "retrieval", "association",
    "robustness", "surveillance", "probes", "report",
)  # fmt: skip


@pytest.fixture(scope="module")
def address(quick_runs: dict[str, Run]) -> Iterator[str]:
    """A dashboard as the command starts it, on a free port, with a run of both specimens."""
    runs = quick_runs["specimen-skewed"].path.parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(FOLDER / "serve.py"), str(port), str(runs)]
    here = {**os.environ, "CLIP_AUDIT_CACHE": str(runs.parent / "cache")}
    here |= {"STREAMLIT_SERVER_HEADLESS": "true"}
    server = subprocess.Popen(command, env=here, stdout=subprocess.DEVNULL)
    try:
        found = f"http://localhost:{port}"
        wait_for(f"{found}/_stcore/health")
        yield found
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    for _ in range(240):
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


def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Any:
    """A page that fails the test if a word of some label is run as a script."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(60_000)
    page.on("dialog", lambda dialog: pytest.fail(f"something was run: {dialog.message}"))
    page.goto(address)
    settled(page)
    return page


#: resolves when nothing of the page has changed for a while; charts are drawn after the words
QUIET = """() => new Promise(done => {
  const wait = () => setTimeout(() => { seen.disconnect(); done(true) }, 250)
  let timer = wait()
  const seen = new MutationObserver(() => { clearTimeout(timer); timer = wait() })
  seen.observe(document.body, {childList: true, subtree: true, characterData: true})
})"""


def settled(page: Any) -> None:
    page.wait_for_selector("h1")
    for _ in range(2):  # a script that begins just now shows itself a moment later
        page.evaluate(QUIET)
        page.wait_for_selector('[data-testid="stStatusWidget"]', state="detached")


def goto(page: Any, title: str) -> None:
    """By the menu, within the session."""
    page.get_by_role("link", name=title, exact=True).click()
    if title != "Overview":  # whose heading names the run
        page.wait_for_selector(f"h1:has-text('{title}')")
    settled(page)


# ---- what holds for every page ------------------------------------------------------------------


#: a laptop by day, a phone by night
SCREENS = ((1280, "light"), (390, "dark"))


def test_every_page_fits_can_be_read_and_asks_nobody_else(address: str, browser: Any) -> None:
    """Each page is made once, and looked at on both screens."""
    page = opened(browser, address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in VIEWS:
        page.goto(f"{address}/{view}")
        grounds = set()
        for width, scheme in SCREENS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            settled(page)
            grounds.add(page.evaluate(GROUND))
            assert not page.query_selector('[data-testid="stException"]'), view
            assert page.evaluate(TOO_WIDE) == [], (view, width)
            assert page.evaluate(TOO_PALE) == [], (view, scheme)
        assert len(grounds) == len(SCREENS), view  # the page did turn dark
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    page.close()


def test_it_is_served_on_this_machine_only(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    # whoever listens on every address would hold this one too
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))


def test_the_keyboard_is_enough(address: str, browser: Any) -> None:
    page = opened(browser, address)
    focused = "() => document.activeElement.innerText || document.activeElement.ariaLabel || ''"

    def tab_to(words: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if words in page.evaluate(focused):
                return
        pytest.fail(f"‘{words}’ can't be reached with the keyboard")

    tab_to("Pictures")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Pictures')")
    settled(page)
    assert not page.query_selector("[data-testid=stMain] img")
    box = page.get_by_role("checkbox", name="I have read this")
    box.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("[data-testid=stMain] img")
    page.close()


# ---- ways through -------------------------------------------------------------------------------


def test_words_are_typed_and_answered_and_stay_words(address: str, browser: Any) -> None:
    page = opened(browser, f"{address}/lab")
    page.get_by_text("shown in both sets").or_(page.get_by_text("in both sets")).first.wait_for()
    labels = page.get_by_role("textbox", name="Labels, one a line")
    lines = labels.input_value().splitlines()
    labels.fill("\n".join(line for line in lines if line != "thief"))
    labels.press("Control+Enter")
    page.wait_for_selector("text=answered otherwise than with the saved set")
    settled(page)
    nasty = "<img src=x onerror=alert(1)>"
    labels.fill("\n".join([*lines, nasty]))
    labels.press("Control+Enter")
    page.wait_for_selector("text=8 labels")
    settled(page)
    assert page.get_by_text(nasty).count()
    assert not page.query_selector("img[src=x]")
    for mark in page.query_selector_all("[data-testid=stVegaLiteChart] path[aria-label]")[:6]:
        mark.hover()
        page.wait_for_timeout(150)
    assert not page.query_selector("img[src=x]")
    page.close()


def test_pictures_are_blurred_until_they_are_asked_for(address: str, browser: Any) -> None:
    page = opened(browser, f"{address}/pictures")
    page.get_by_text("I have read this").click()
    first = page.locator("[data-testid=stMain] img").first
    first.wait_for()
    blurred = first.get_attribute("src")
    page.get_by_text("Show pictures clearly").click()
    settled(page)
    clear = page.locator("[data-testid=stMain] img").first.get_attribute("src")
    assert clear
    assert blurred
    assert len(clear) > 1.3 * len(blurred)  # as bytes: what is blurred holds less
    assert page.locator("[data-testid=stMain] img").first.get_attribute("alt")
    goto(page, "Disparities")
    assert not page.query_selector("[data-testid=stMain] img")
    goto(page, "Pictures")  # what was confirmed holds for the session
    assert page.locator("[data-testid=stMain] img").count() > 0
    page.close()


def test_a_report_is_written_checked_and_read(
    address: str, browser: Any, quick_runs: dict[str, Run]
) -> None:
    page = opened(browser, f"{address}/report")
    page.get_by_role("textbox", name="1. Summary").fill(
        "There is no bias. <script>alert(1)</script>"
    )
    page.get_by_role("textbox", name="1. Summary").press("Control+Enter")
    page.wait_for_selector("text=is more than any audit can show")
    page.get_by_role("button", name="Save the words").first.click()
    settled(page)
    (words,) = [
        run.path / "narrative.yaml"
        for run in quick_runs.values()
        if (run.path / "narrative.yaml").exists()
    ]
    assert "There is no bias." in words.read_text()
    page.get_by_text("Read", exact=True).first.click()
    frame = page.frame_locator("iframe")
    frame.locator("h1").wait_for(timeout=120_000)
    assert frame.locator("blockquote", has_text="There is no bias.").count() == 1
    assert frame.locator("script").count() == 0
    number = frame.locator("a.row[href^='#disparities-']").first
    place = number.get_attribute("href")
    number.click()
    frame.locator(f"a[id='{str(place)[1:]}']").wait_for()  # folded away until it is led to
    page.close()
    words.unlink()


# ---- pictures of it -----------------------------------------------------------------------------


def test_pictures_for_the_docs(address: str, browser: Any, screenshots: Path) -> None:
    page = opened(browser, address)
    taken(page, screenshots / "overview.png", 1000)
    goto(page, "Disparities")
    taken(page, screenshots / "disparities.png", 1250)
    goto(page, "Prompt sensitivity")
    taken(page, screenshots / "prompt-sensitivity.png", 1200)
    goto(page, "Label-set lab")
    labels = page.get_by_role("textbox", name="Labels, one a line")
    lines = labels.input_value().splitlines()
    labels.fill("\n".join(line for line in lines if line != "thief"))
    labels.press("Control+Enter")
    page.wait_for_selector("text=answered otherwise than with the saved set")
    taken(page, screenshots / "label-set-lab.png", 1200)
    goto(page, "Pictures")
    page.get_by_text("I have read this").click()
    page.locator("[data-testid=stMain] img").first.wait_for()
    taken(page, screenshots / "pictures.png", 900)
    goto(page, "Report")
    taken(page, screenshots / "report.png", 1000)
    page.close()


def taken(page: Any, path: Path, height: int) -> None:
    """A picture of the page's top, at the width of a small laptop."""
    page.set_viewport_size({"width": 1280, "height": height})
    settled(page)
    page.screenshot(path=path)
    assert path.stat().st_size > 20_000  # more than an empty page
