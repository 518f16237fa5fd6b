"""Serve the dashboard to this machine: which requests are answered at all.

``python serve.py PORT RUNS [--no-pictures]`` is what ``clip-audit dashboard`` starts. Another page
that is open in the same browser must not read the runs: neither by requests (``Origin``) nor under
a name of its own that it lets point at this machine (``Host``: DNS rebinding).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import streamlit as st
from parts import ahead
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: names of this machine in the address of a page
HERE: Final = ("localhost", "127.0.0.1", "[::1]")
#: what no page of ours asks Streamlit for: counts of sessions, another way to drive pages
OFF: Final = re.compile(r"/_stcore/(metrics|agent|script-health-check)(/|$)")
#: how it is served: to this machine, telling nobody, in colours that can be read
STREAMLIT: Final[dict[str, Any]] = {
    "server.address": "localhost",
    "server.allowedHosts": ["localhost", "127.0.0.1", "::1"],
    "server.corsAllowedOrigins": [],
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "client.allowedOrigins": [],  # of pages that may hold this one in a frame and command it
    # nobody edits the pages while they are read: looking for changes and for lone expressions to
    # print cost more than the pages
    "server.fileWatcherType": "none",
    "runner.magicEnabled": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#00588a",
    "theme.dark.primaryColor": "#7cc0ee",
}


class OnlyHere:
    """Answers only requests that were made to the address under which the dashboard is opened."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in HERE} | ({*HERE} if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with a sentence; a WebSocket before it opens."""
        if scope["type"] == "lifespan" or not (refused := self.refusal(scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        else:
            await PlainTextResponse(refused[1], refused[0])(scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and sentence of a request that is not answered."""
        given = [(name, value.decode("latin-1").lower()) for name, value in scope["headers"]]
        hosts = [value for name, value in given if name == b"host"]
        origins = {value for name, value in given if name == b"origin"}
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            known = " or ".join(sorted(self.hosts))
            return 403, f"This dashboard is opened at {known}, by no other name or port.\n"
        if origins - {f"http://{hosts[0]}"}:
            return 403, "Another page asked for this; the dashboard answers its own pages only.\n"
        if OFF.match(scope["path"]):
            return 404, "This is switched off.\n"
        return None


def main() -> None:
    """Serve until stopped; pages find RUNS and what follows it in ``sys.argv``, from 1 on."""
    port = int(sys.argv.pop(1))
    ahead.begin()
    ahead.WAITING.append(ahead.prepare)
    page = Path(__file__).with_name("app.py")
    app = st.App(page, middleware=[Middleware(OnlyHere, port=port)])
    app.run(config=STREAMLIT | {"server.port": port})


if __name__ == "__main__":
    main()
