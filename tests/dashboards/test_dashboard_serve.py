"""Which requests the dashboard answers: those of its own pages, under its own address."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from test_dashboard import FOLDER

import audit
from audit.cli.verbs import dashboard
from audit.core.errors import AuditError, InputError

sys.path.insert(0, str(FOLDER))
from parts import ahead
from serve import OnlyHere

HERE = "http://localhost:8501"


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("open")
    await socket.close()


@pytest.fixture(scope="module")
def client() -> TestClient:
    page = Route("/{path:path}", lambda request: PlainTextResponse("a page"))
    app = Starlette(routes=[page, WebSocketRoute("/_stcore/stream", echo)])
    return TestClient(OnlyHere(app, 8501), base_url=HERE)


@pytest.mark.parametrize(
    "host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "LOCALHOST:8501"]
)
def test_its_own_address_is_answered(client: TestClient, host: str) -> None:
    for more in ({}, {"Origin": f"http://{host.lower()}"}):
        assert client.get("/", headers={"Host": host, **more}).text == "a page"


@pytest.mark.parametrize(
    "host",
    ["evil.example:8501", "evil.example", "localhost", "localhost:8502", "10.0.0.7:8501", "",
     "localhost.evil.example:8501", "127.0.0.1.nip.io:8501", "localhost:8501@evil.example"],
)  # fmt: skip
def test_a_name_that_somebody_points_at_this_machine_is_refused(
    client: TestClient, host: str
) -> None:
    reply = client.get("/", headers={"Host": host, "Origin": f"http://{host}"})
    assert reply.status_code == 403
    assert "opened at" in reply.text
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(
            "/_stcore/stream", headers={"Host": host, "Origin": f"http://{host}"}
        ),
    ):
        pass


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9000", "https://localhost:8501",
               "http://127.0.0.1:8501", "http://localhost:8501.evil.example"],
)  # fmt: skip
def test_another_page_is_refused(client: TestClient, origin: str) -> None:
    reply = client.get("/media/picture", headers={"Origin": origin})
    assert (reply.status_code, "Another page" in reply.text) == (403, True)
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://localhost:8501/_stcore/stream", headers={"Origin": origin}),
    ):
        pass


def test_its_own_page_may_connect(client: TestClient) -> None:
    with client.websocket_connect(
        "ws://localhost:8501/_stcore/stream", headers={"Origin": HERE}
    ) as stream:
        assert stream.receive_text() == "open"


def test_what_no_page_needs_is_off(client: TestClient) -> None:
    for path in ("metrics", "metrics/", "%6detrics", "agent/mcp", "agent/openapi.json"):
        assert client.get(f"/_stcore/{path}").status_code == 404, path
    for path in ("health", "host-config", "metricsx"):
        assert client.get(f"/_stcore/{path}").text == "a page", path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    command = [sys.executable, str(FOLDER / "serve.py"), str(number), str(tmp_path)]
    quietly = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}
    server = subprocess.Popen(command, env=quietly, stdout=subprocess.DEVNULL)
    try:
        yield number
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_the_command_serves_so(port: int) -> None:
    def status(path: str, host: str = "localhost", **headers: str) -> int:
        with closing(HTTPConnection("localhost", port, timeout=5)) as connection:
            connection.request("GET", path, headers={"Host": f"{host}:{port}", **headers})
            return connection.getresponse().status

    for _ in range(240):
        try:
            status("/_stcore/health")
            break
        except OSError:
            time.sleep(0.25)
    assert status("/") == status("/_stcore/health") == 200
    assert status("/", "evil.example") == status("/", Origin="http://evil.example") == 403
    assert status("/_stcore/metrics") == 404


@pytest.mark.parametrize(
    ("port", "said"),
    [(99999, "no port"), (-1, "no port"), (0, "no port"), (None, "already in use")],
)
def test_a_port_that_can_not_be_opened_is_a_sentence(port: int | None, said: str) -> None:
    with socket.create_server(("localhost", 0)) as busy:
        number = port if port is not None else busy.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {number}: .*{said}.*from 1024 to 65535"):
            dashboard(port=number)


def test_a_dashboard_that_ends_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.cli.machine.require_port", lambda port: None)
    monkeypatch.setattr(subprocess, "call", lambda command, env: 7)
    with pytest.raises(AuditError, match="exit code 7. What it said itself is above"):
        dashboard()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        dashboard()


@pytest.mark.slow
def test_what_waits_is_done_once_after_the_first_page_and_between_pages() -> None:
    done: list[str] = []
    begun, ended = threading.Event(), threading.Event()

    def prepare() -> None:
        begun.set()
        ahead.between_pages(done.append, "imported")
        ended.set()

    ahead.WAITING.append(prepare)
    with ahead.drawing():
        with ahead.drawing():
            assert not begun.wait(0.01)
        assert begun.wait(5)
        assert not ended.wait(0.01)  # another page is still drawn
    assert ended.wait(5)
    with ahead.drawing():
        assert done == ["imported"]
    assert not ahead.WAITING


def test_what_is_imported_ahead_is_there() -> None:
    assert all(importlib.util.find_spec(name) for name in ahead.DEAR)
    assert set(ahead.OFFERED) <= set(audit.__all__)
