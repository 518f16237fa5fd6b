"""Mitsuba, started with the fastest variant that works on this machine.

The compiled variant needs a recent LLVM; with an old one the process aborts instead of raising.
So it is tried in a process of its own first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from audit.core.errors import InputError

FAST, SLOW = "llvm_ad_rgb", "scalar_rgb"
VARIANT_VARIABLE = "CLIP_AUDIT_MITSUBA_VARIANT"
LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
OLDEST_LLVM = 15
PROBE = (
    f"import mitsuba as mi; mi.set_variant('{FAST}'); import drjit as dr; "
    "x = mi.Float(1, 2, 3); dr.eval(x * x); assert dr.sum(x)[0] == 6"
)


def load(threads: int | None = None) -> ModuleType:
    """The mitsuba module with its variant set; ``threads`` limits what one process uses."""
    require_extra()
    variant = choose_variant()
    if threads:
        os.environ["OIDN_NUM_THREADS"] = str(threads)  # read when the denoiser starts
    import mitsuba

    mitsuba.set_variant(variant)
    mitsuba.set_log_level(mitsuba.LogLevel.Warn)
    if threads:
        import drjit

        drjit.set_thread_count(threads)
    module: ModuleType = mitsuba
    return module


def require_extra() -> None:
    """Raise an InputError that says what to install when a library is missing."""
    missing = [n for n in ("mitsuba", "mitsuba_oidn", "scipy", "PIL") if find_spec(n) is None]
    if missing:
        raise InputError(
            f"rendering people: {', '.join(missing)} is not installed. "
            "Install the extra with: pip install 'clip-audit[people]'."
        )


@lru_cache(1)
def choose_variant() -> str:
    """Name of the variant to use; also sets the variables that child processes inherit."""
    given = os.environ.get(VARIANT_VARIABLE)
    if given is None:
        given = FAST if _fast_works() else SLOW
        os.environ[VARIANT_VARIABLE] = given
    return given


def _fast_works() -> bool:
    if LLVM_VARIABLE in os.environ:
        return _probe(os.environ[LLVM_VARIABLE])
    for library in _llvm_libraries():
        if _probe(str(library)):
            os.environ[LLVM_VARIABLE] = str(library)
            return True
    return False


def _probe(library: str) -> bool:
    environment = {**os.environ, LLVM_VARIABLE: library}
    command = [sys.executable, "-c", PROBE]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def _llvm_libraries() -> list[Path]:
    """LLVM libraries of this system that may be recent enough, newest first."""
    found: dict[int, Path] = {}
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"):
        for path in sorted(Path(folder).glob("libLLVM*.so*")):
            version = re.search(r"(\d+)", path.name.removeprefix("libLLVM"))
            if version and int(version.group()) >= OLDEST_LLVM:
                found.setdefault(int(version.group()), path)
    return [found[version] for version in sorted(found, reverse=True)]
