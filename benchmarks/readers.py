"""How long the first page takes when many readers open the dashboard at once.

Run it with ``python benchmarks/readers.py RUNS [--readers 15] [--rounds 3] [--page disparities]``,
and with ``--other CHECKOUT`` to time another state of the code beside it, in turns. Each reader is
a session of its own that opens the page and waits until it is drawn, as a browser does; what the
browser itself takes is not counted. Prints the median and the slowest of all readers of a round,
what the server needed of the processor for all of them, and how busy the machine was with others.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.typing import Origin

HERE = Path(__file__).resolve().parents[1]


@contextmanager
def served(checkout: Path, runs: Path) -> Iterator[tuple[str, int]]:
    """A dashboard of this checkout on a free port; gives its address and process group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--cache", str(runs.parent / "cache")]
    command = [sys.executable, "-m", "audit.cli", "dashboard", str(runs), *options]
    here = os.environ | {"PYTHONPATH": str(checkout), "STREAMLIT_SERVER_HEADLESS": "true"}
    server = subprocess.Popen(
        command, cwd=checkout, env=here, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        yield f"localhost:{port}", server.pid
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the command and the server that it started
        server.wait()


def processor_time(group: int) -> float:
    """Seconds of processor time that a process group has had so far (Linux only)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            ticks += (int(fields[11]) + int(fields[12])) * (int(fields[2]) == group)
    return ticks / os.sysconf("SC_CLK_TCK")


async def read(address: str, page: str) -> tuple[float, int]:
    """Seconds from connecting until the page is drawn, and how many bytes came."""
    began, size = time.monotonic(), 0
    url = f"ws://{address}/_stcore/stream"
    async with websockets.connect(url, origin=Origin(f"http://{address}"), max_size=None) as stream:
        ask = BackMsg()
        ask.rerun_script.query_string = ""
        ask.rerun_script.page_name = page
        await stream.send(ask.SerializeToString())
        async for content in stream:
            size += len(content)
            message = ForwardMsg.FromString(content)
            if message.delta.new_element.HasField("exception"):
                raise RuntimeError(message.delta.new_element.exception.message)
            if message.WhichOneof("type") == "script_finished":
                break
    return time.monotonic() - began, size


async def together(address: str, readers: int, page: str) -> tuple[list[float], int]:
    """Many readers at once."""
    found = await asyncio.gather(*[read(address, page) for _ in range(readers)])
    return [seconds for seconds, _ in found], max(size for _, size in found)


def main() -> None:
    """Time each checkout in turns and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, help="a folder of finished runs")
    parser.add_argument("--readers", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--page", default="", help="'disparities', 'lab' ...; without it the overview"
    )
    parser.add_argument("--other", type=Path, help="another checkout, timed beside this one")
    given = parser.parse_args()
    checkouts = [c for c in (given.other, HERE) if c]
    times: dict[Path, list[float]] = {c: [] for c in checkouts}
    for _ in range(given.rounds):
        for checkout in checkouts:
            with served(checkout, given.runs.resolve()) as (address, group):
                load = os.getloadavg()[0]
                alone, size = asyncio.run(together(address, 1, given.page))
                before = processor_time(group)
                cold, _ = asyncio.run(together(address, given.readers, given.page))
                busy = processor_time(group) - before
                again, _ = asyncio.run(together(address, given.readers, given.page))
            times[checkout] += cold
            print(
                f"{checkout}: first reader alone {alone[0]:.2f} s, {given.readers} at once median "
                f"{statistics.median(cold):.2f} s, slowest {max(cold):.2f} s, "
                f"{busy:.2f} s of processor time; the same again "
                f"{statistics.median(again):.2f} s; {size / 1e3:.0f} kB; load before {load:.1f}",
                flush=True,
            )
    for checkout, seconds in times.items():
        print(f"{checkout}: median of all {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
