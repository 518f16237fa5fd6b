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
TOO_WIDE, TOO_PALE, SETTLED = (
    (HERE / f"{name}.js").read_text() for name in ("too_wide", "too_pale", "settled")
)
GROUND = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
#: every page by its title, as in the menu; what the run didn't ask says so there
UNASKED = ("Retrieval", "Association", "Robustness")
TITLES = (
    "Overview", "Disparities", "Prompt sensitivity", "Compare runs", "Label-set lab",
    "Pictures", "Retrieval", "Association", "Robustness", "Surveillance", "More probes", "Report",
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
def page() -> Iterator[Any]:
    """One page for all tests: what it has fetched once it need not fetch again.

    It fails the test if a word of some label is run as a script.
    """
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: pytest.fail(f"something was run: {dialog.message}"))
        yield page
        browser.close()


def opened(page: Any, address: str) -> Any:
    """The page in a session of its own, on a laptop by day."""
    look(page, *SCREENS[0])
    page.goto(address)
    settled(page)
    return page


#: a laptop by day, a phone by night
SCREENS = ((1280, "light"), (390, "dark"))


def look(page: Any, width: int, scheme: str, height: int = 900) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)


def settled(page: Any) -> None:
    page.evaluate(SETTLED)


def goto(page: Any, title: str) -> None:
    """By the menu, within the session."""
    named = f"{title} · not asked" if title in UNASKED else title
    page.get_by_test_id("stSidebar").get_by_role("link", name=named, exact=True).click()
    if title != "Overview":  # whose heading names the run
        page.wait_for_selector(f"h1:has-text('{title}')")
    settled(page)


# ---- what holds for every page ------------------------------------------------------------------


#: how high the pictures in the docs are, of pages as they open
PICTURES = {"Overview": 1000, "Disparities": 1250, "Prompt sensitivity": 1200, "Report": 1000}


def test_every_page_fits_can_be_read_and_asks_nobody_else(
    address: str, page: Any, screenshots: Path
) -> None:
    """Each page is made once, and looked at on both screens."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page, address)
    menu = page.get_by_test_id("stSidebar").get_by_test_id("stPageLink-NavLink").all_inner_texts()
    said = [link.splitlines()[-1] for link in menu]  # an icon's name comes first
    assert said == [f"{t} · not asked" if t in UNASKED else t for t in TITLES]
    for title in TITLES:
        look(page, *SCREENS[0], PICTURES.get(title, 900))
        goto(page, title)
        if title in PICTURES:
            taken(page, screenshots, title, PICTURES[title])
        grounds = set()
        for width, scheme in SCREENS:
            look(page, width, scheme)
            settled(page)
            grounds.add(page.evaluate(GROUND))
            assert not page.query_selector('[data-testid="stException"]'), title
            assert page.evaluate(TOO_WIDE) == [], (title, width)
            assert page.evaluate(TOO_PALE) == [], (title, scheme)
        assert len(grounds) == len(SCREENS), title  # the page did turn dark
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []


def test_it_is_served_on_this_machine_only(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    # whoever listens on every address would hold this one too
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))


def test_the_keyboard_is_enough(address: str, page: Any) -> None:
    opened(page, address)
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


# ---- ways through -------------------------------------------------------------------------------


def test_a_click_opens_a_fact_whose_address_opens_it_again(address: str, page: Any) -> None:
    opened(page, address)
    beside = page.locator(".st-key-beside")
    words = beside.get_by_test_id("stMarkdown")
    first, at_first = words.all_inner_texts(), page.url
    chart = page.get_by_test_id("stVegaLiteChart").first
    rows = chart.locator("path[aria-roledescription='rect mark']")  # what is clicked is on top
    rows.nth(rows.count() - 9).click(position={"x": 200, "y": 8})
    page.wait_for_url(lambda url: url != at_first)
    settled(page)
    told, there = words.all_inner_texts(), page.url
    assert told != first
    page.go_back()
    page.wait_for_url(at_first)
    settled(page)
    assert words.all_inner_texts() == first
    page.goto(there)
    settled(page)
    assert words.all_inner_texts() == told
    beside.get_by_role("link", name="All groups").click()
    page.wait_for_selector("h1:has-text('Disparities')")
    settled(page)
    assert "label=selection." in page.url


def test_words_are_typed_and_answered_and_stay_words(
    address: str, page: Any, screenshots: Path
) -> None:
    opened(page, f"{address}/lab")
    page.get_by_text("shown in both sets").or_(page.get_by_text("in both sets")).first.wait_for()
    labels = page.get_by_role("textbox", name="Labels, one a line")
    lines = labels.input_value().splitlines()
    labels.fill("\n".join(line for line in lines if line != "thief"))
    labels.press("Control+Enter")
    page.wait_for_selector("text=answered otherwise than with the saved set")
    taken(page, screenshots, "Label-set lab", 1200)
    with page.expect_download() as rates:
        page.get_by_role("button", name="All rates, as CSV").click()
    assert Path(rates.value.path()).read_text("utf-8-sig").startswith("probe,")
    nasty = "<img src=x onerror=alert(1)>"
    labels.fill("\n".join([*lines, nasty]))
    labels.press("Control+Enter")
    page.wait_for_selector("text=8 labels")
    settled(page)
    assert page.get_by_text(nasty).count()
    assert not page.query_selector("img[src=x]")
    for mark in page.query_selector_all("[data-testid=stVegaLiteChart] path[aria-label]")[:6]:
        mark.hover()
        page.wait_for_selector("#vg-tooltip-element.visible")
    assert not page.query_selector("img[src=x]")


def test_pictures_are_blurred_until_they_are_asked_for(
    address: str, page: Any, screenshots: Path
) -> None:
    opened(page, f"{address}/pictures")
    page.get_by_text("I have read this").click()
    first = page.locator("[data-testid=stMain] img").first
    first.wait_for()
    taken(page, screenshots, "Pictures", 900)
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


def test_a_report_is_written_checked_and_read(
    address: str, page: Any, quick_runs: dict[str, Run]
) -> None:
    opened(page, f"{address}/report")
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
    words.unlink()


def taken(page: Any, folder: Path, title: str, height: int) -> None:
    """A picture of the page's top for the docs, at the width of a small laptop."""
    look(page, *SCREENS[0], height)
    settled(page)
    path = folder / f"{title.lower().replace(' ', '-')}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 20_000  # more than an empty page
