"""The error stream belongs to this tool while libraries work."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings

import pytest
from PIL import Image

from audit.core.quiet import libraries_quiet


def test_what_libraries_write_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    stream, shown = sys.stderr, warnings.showwarning
    broken = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(broken, "TIFF", compression="tiff_adobe_deflate")
    damaged = bytearray(broken.getvalue())
    damaged[20:40] = bytes(20)
    with libraries_quiet() as own:
        os.write(2, b"from C\n")
        with pytest.raises(OSError, match="decoder error"):  # libtiff writes why to descriptor 2
            Image.open(io.BytesIO(bytes(damaged))).load()
        print("from Python", file=sys.stderr)
        logging.getLogger("somebody").warning("from a logger")
        print("our own", file=own)
    assert capfd.readouterr().err == "our own\n"
    assert (sys.stderr, warnings.showwarning) == (stream, shown)
    os.write(2, b"again\n")
    assert capfd.readouterr().err == "again\n"


def test_only_warnings_of_this_package_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    import audit.store.embeddings as ours

    with libraries_quiet(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("theirs", UserWarning, "elsewhere.py", 1)
        warnings.warn_explicit("a shard was dropped", UserWarning, str(ours.__file__), 1)
    assert capfd.readouterr().err == "a shard was dropped\n"


def test_the_stream_comes_back_after_an_exception() -> None:
    stream = sys.stderr
    with pytest.raises(KeyError), libraries_quiet():
        raise KeyError
    assert sys.stderr is stream
