"""Units given to workers on Ray: a Ray of this machine, or a cluster that is there.

Ray hands out units, and no more: what it retries, restarts or reports decides nothing here.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import socket
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

from audit.core.errors import InputError
from audit.scale.launch import Report, Work
from audit.scale.units import Unit

#: Ray sends statistics about its use unless this is said before it is imported
NO_STATISTICS: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0"}
LOCAL: Final = "local"
#: seconds in which a cluster has to answer at all
_PATIENCE: Final = 5.0
_NEXT: Final = "If it wants a token, set RAY_AUTH_MODE=token; 'ray status' there tells more"
_ADDRESS: Final = re.compile(r"(?:ray://)?(?P<host>[^:/\s]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class OnRay:
    """Launch units on Ray: a worker a GPU, or a core where there is none (or none is wanted).

    ``cluster``: the address of one that is there; Ray's own, begun and ended here, if ``local``.
    ``workers``: at most so many; ``version``: that of this package, which all of them need.
    """

    cluster: str = LOCAL
    workers: int | None = None
    gpus: bool = True
    version: str = field(default_factory=lambda: version("clip-audit"))

    def __post_init__(self) -> None:
        """Refuse now what would be found out once a model is loaded.

        Raises:
            InputError: Ray isn't installed, or nobody answers at that address.
        """
        if find_spec("ray") is None:
            told = "Ray is not installed"
            raise InputError(told, "pip install 'clip-audit[ray]' installs it")
        _require_reachable(self.cluster)

    def __call__(self, units: Sequence[Unit], work: Work) -> Iterator[Report]:
        """Give each unit to a worker that is free, and tell what it says or how it was lost.

        Raises:
            InputError: the cluster can't be used.
        """
        packed, waiting = pickle.dumps(work), deque(units)
        with _connected(self.cluster) as ray:
            hire, count = self._worker(ray)
            hired = [hire() for _ in range(min(count, len(units)))]
            # no worker is given a unit before it is there: Ray may wait for its place for ever
            busy: dict[Any, tuple[Any, Unit | None]] = {w.ready.remote(): (w, None) for w in hired}
            while busy and (waiting or any(unit for _, unit in busy.values())):
                worker, unit = busy.pop(found := ray.wait([*busy])[0][0])
                try:
                    said = ray.get(found)
                except ray.exceptions.RayError as error:
                    if unit is not None:  # another takes its place; one that never began has none
                        yield Report(unit, f"its worker was lost ({_first_line(error)})")
                        another = hire()
                        busy[another.ready.remote()] = another, None
                    continue
                if unit is not None:
                    yield Report(unit, *said)
                if waiting:
                    unit = waiting.popleft()
                    busy[worker.do.remote(packed, str(unit))] = worker, unit

    def _worker(self, ray: Any) -> tuple[Any, int]:
        """What makes a worker, and how many have room."""
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if self.gpus else 0
        cores = max(1, int(there.get("CPU", 1)) // gpus) if gpus else 1
        count = gpus or max(1, int(there.get("CPU", 1)))
        # a lost worker is not restarted, and no call is repeated, behind our back
        options = {"num_gpus": 1 if gpus else 0, "num_cpus": cores, "max_restarts": 0}
        made = _worker_class(ray).options(**options, max_task_retries=0)
        readers = cores if cores > 1 else 0
        return lambda: made.remote(self.version, readers), min(count, self.workers or count)


def _worker_class(ray: Any) -> Any:
    """A class that travels as code: where it runs, this package may be missing or another one."""

    class Worker:
        def __init__(self, version: str, readers: int) -> None:
            self.version, self.readers = version, readers

        def ready(self) -> None:
            """Answer."""

        def do(self, packed: bytes, unit: str) -> tuple[str, bool, tuple[str, ...]]:
            import os
            import socket
            import sys
            from importlib.metadata import version

            os.environ["CLIP_AUDIT_READERS"] = str(self.readers)
            where = f"the worker on {socket.gethostname()} ({sys.executable})"
            try:
                there = version("clip-audit")
                from audit.scale.launch import answer
            except ImportError:  # which PackageNotFoundError is, too
                told = f"{where} has no clip-audit. Install clip-audit {self.version} there"
                return told, True, ()
            if there != self.version:
                told = f"{where} has clip-audit {there}, and this is {self.version}"
                return f"{told}. Install the same on both", True, ()
            said = answer(packed, unit)
            return said.problem, said.refused, said.told

    return ray.remote(Worker)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected until the end of the block, and quiet.

    Raises:
        InputError: it can't be used.
    """
    os.environ.update(NO_STATISTICS)
    import ray

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # where it prints losses
        own = {}
        if address == LOCAL:
            # what it would leave goes with it; its sockets need a short path
            place = tempfile.TemporaryDirectory(
                prefix="ray-",
                dir="/tmp" if os.path.isdir("/tmp") else None,
                ignore_cleanup_errors=True,
            )
            own = {"include_dashboard": False, "_temp_dir": stack.enter_context(place)}
        stack.callback(ray.shutdown)
        try:
            ray.init(address, log_to_driver=False, configure_logging=False, **own)
        except Exception as error:  # whatever a network, another version or a full disk brings
            told = f"Ray at '{address}' can't be used: {_first_line(error)}"
            raise InputError(told, _NEXT) from error
        yield ray


def _require_reachable(address: str) -> None:
    """Refuse an address where nobody answers; Ray itself would try for minutes."""
    if address in (LOCAL, "auto"):
        return
    found = _ADDRESS.fullmatch(address)
    if found is None:
        told = f"cluster: got '{address:.60}', which is no address"
        raise InputError(told, "Write HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((found["host"], int(found["port"])), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        told = f"cluster '{address}': nobody answers there ({error})"
        raise InputError(told, "'ray status' on its head prints the address") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
