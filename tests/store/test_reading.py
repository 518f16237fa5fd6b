"""Pictures opened in other processes: the same to the last bit, and nothing lost or left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.core.errors import AuditError, InputError
from audit.data.alterations import alteration
from audit.models.encoder import EncoderCard, Pixels, Rows, unit_rows
from audit.models.preprocessing import Pictures
from audit.store import desk, embeddings
from audit.store.embeddings import Embeddings, Quarantined, Store
from audit.store.processes import Processes, started
from audit.store.stream import encode_stream

PICTURES = Pictures(4, None, 3, (4, 4), 1 / 255, (0.5,) * 3, (0.5,) * 3)


class Small:
    """Embeds a picture as its prepared pixels, which other processes can prepare."""

    batch_size = 4

    def __init__(self, preparation: object = PICTURES) -> None:
        self.card = EncoderCard("small", "test", 48, 4, 77, "", 100.0, "float32", "cpu", "a" * 64)
        self.preparation, self.here = preparation, 0

    def preprocess(self, image: Image.Image) -> Pixels:
        self.here += 1
        return PICTURES(image)

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        return unit_rows(np.array(pixels, dtype=np.float64).reshape(-1, 48) + 1)

    def encode_images(self, images: Sequence[Image.Image]) -> Rows:
        return self.encode_pixels([self.preprocess(image) for image in images])

    encode_texts = encode_images


def album(folder: Path, count: int) -> list[tuple[str, Path]]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return [(f"id{i}", Path(f"{i}.png")) for i in range(count)]


def told(found: tuple[Embeddings, list[Quarantined]]) -> tuple[object, ...]:
    kept, lost = found
    return [*kept.keys], kept.pixels.tolist(), kept.vectors.tobytes(), lost


@pytest.mark.slow
def test_processes_and_threads_fill_the_same_store(tmp_path: Path) -> None:
    items, folder = album(tmp_path / "a", 40), tmp_path / "a"
    (folder / "5.png").write_bytes((folder / "5.png").read_bytes()[:60])
    (folder / "7.png").write_bytes((folder / "3.png").read_bytes())
    items.insert(20, ("gone", Path("gone.png")))
    for crop in (None, alteration("centre crop 0.8")):
        ours, theirs = Small(), Small()
        threads = Store(tmp_path / "threads", readers=0)
        processes = Store(tmp_path / "processes", readers=2)
        plain = told(threads.images(ours, items, folder, alteration=crop))
        assert told(processes.images(theirs, items, folder, alteration=crop)) == plain
        assert [one.image_id for one in plain[3]] == ["id5", "gone"]
        assert (ours.here, theirs.here) == (39, 0)
        again = Store(tmp_path / "processes", readers=2)  # the files are too young to be remembered
        assert told(again.images(theirs, items, folder, alteration=crop)) == plain
    assert b"".join(sorted(_stored(tmp_path / "threads"))) == b"".join(
        sorted(_stored(tmp_path / "processes"))
    )


def _stored(cache: Path) -> Iterator[bytes]:
    for folder in ("decoded", f"{'a' * 64}/images"):
        shelf = embeddings.Shelf(cache / "embeddings" / folder, None)
        shelf.refresh()
        for key in shelf._index:
            yield key + (shelf.get(key) or b"")


@dataclass(frozen=True)
class Deadly:
    """Ends the process that is given the picture of this name; the first time, or always."""

    mark: Path
    always: bool = False
    name = "deadly"

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.always or self.mark.exists():
            self.mark.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return image


@pytest.mark.slow
def test_what_a_killed_process_had_is_read_by_another(tmp_path: Path) -> None:
    items, mark = album(tmp_path / "a", 40), tmp_path / "mark"
    mark.touch()
    found, lost = Store(tmp_path / "cache", readers=2).images(
        Small(), items, tmp_path / "a", alteration=Deadly(mark)
    )
    assert not mark.exists()
    assert (found.keys, lost) == (tuple(name for name, _ in items), [])
    want = Small().encode_images([Image.open(tmp_path / "a" / path) for _, path in items])
    np.testing.assert_array_equal(found.vectors, want)
    with pytest.raises(AuditError, match="all 2 processes that help were killed.*READERS"):
        Store(tmp_path / "other", readers=2).images(
            Small(), items, tmp_path / "a", alteration=Deadly(mark, always=True)
        )


class Local:
    """Can't be pickled."""

    def __init__(self) -> None:
        self.prepare = lambda image: PICTURES(image)

    def __call__(self, image: Image.Image) -> Pixels:
        return self.prepare(image)


def test_what_cannot_be_sent_is_done_in_threads(tmp_path: Path) -> None:
    items, encoder = album(tmp_path / "a", 5), Small(Local())
    found, _ = Store(tmp_path / "cache", readers=2).images(encoder, items, tmp_path / "a")
    assert (len(found.keys), encoder.here) == (5, 5)


def test_what_a_script_defines_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "begin", pytest.fail)
    monkeypatch.setattr(Deadly, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Deadly", Deadly, raising=False)
    with started(2, Deadly(Path("x"))) as none:
        assert none is None


@pytest.mark.slow
def test_processes_that_cannot_load_their_work_are_done_without(tmp_path: Path) -> None:
    code = "import processes_test_module as it; from audit.store.processes import started\n"
    code += "import os; os.remove(it.__file__)\nwith started(1, it.Work()) as none: print(none)"
    (tmp_path / "processes_test_module.py").write_text("class Work: pass")
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


UNGUARDED = """
import sys, time
sys.path.insert(0, {tests!r})
import test_reading as it
from pathlib import Path
from audit.core.terminal import Stopped, stoppable
from audit.store import processes
print("begun", flush=True)
here, begin = [], processes.Processes.begin
def noted(self, *given):
    here.append(self)
    begin(self, *given)
processes.Processes.begin = noted
class Slow(it.Small):
    def encode_pixels(self, pixels):
        time.sleep(0.2)
        return super().encode_pixels(pixels)
def progress(done, total):
    print(*[each.pid for each in here[0]._all], flush=True)
items = [(f"id{{i}}", Path(f"{{i}}.png")) for i in range(60)]
with stoppable():
    store = it.Store(Path({cache!r}), readers=2)
    store.images(Slow(), items, Path({folder!r}), progress=progress)
"""


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only its number for who started it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_script_without_a_guard(tmp_path: Path, how: int) -> None:
    album(tmp_path / "a", 60)
    names = {"tests": str(Path(__file__).parent), "folder": str(tmp_path / "a")}
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(**names, cache=str(tmp_path / "cache")))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    readers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(readers) == 2
    process.send_signal(how)
    rest, _ = process.communicate(timeout=30)
    assert "begun" not in rest  # no reader ran the script again
    deadline = time.monotonic() + 10
    while any(map(_runs, readers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_runs, readers))
    if how != signal.SIGKILL:  # what was encoded is kept
        assert list((tmp_path / "cache").glob("embeddings/*/images/*.shard"))


def test_how_many_processes_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_AUDIT_READERS", raising=False)
    for cores, pictures, wanted in ((2, 10**6, 0), (16, 1999, 0), (16, 2000, 16), (200, 9999, 64)):
        monkeypatch.setattr(embeddings, "usable_cores", lambda cores=cores: cores)
        assert embeddings._how_many(pictures) == wanted
    monkeypatch.setenv("CLIP_AUDIT_READERS", "3")
    assert embeddings._how_many(1) == 3
    monkeypatch.setenv("CLIP_AUDIT_READERS", "-1")
    with pytest.raises(InputError, match="CLIP_AUDIT_READERS: got '-1'.*0 for threads"):
        embeddings._how_many(1)


# --- a model that is asked for the next batch before the last one is there


class Launching(Small):
    """Gives rows later; notes what happens in which order."""

    def __init__(self, broken: int = -1) -> None:
        super().__init__()
        self.broken, self.events = broken, list[str]()

    def launch(self, pixels: Sequence[Pixels]):
        number = sum(event.startswith("begin") for event in self.events)
        self.events.append(f"begin {number}")

        def rows() -> Rows:
            self.events.append(f"end {number}")
            if number == self.broken:
                raise RuntimeError("the device is gone")
            return self.encode_pixels(pixels)

        return rows


def test_the_next_batch_is_begun_before_the_last_one_is_awaited() -> None:
    encoder = Launching()
    pictures = [Image.new("RGB", (5, 5), (i, 2 * i, 9)) for i in range(8)]
    first, second, rest = encode_stream(encoder, lambda image: image, pictures)
    assert encoder.events == ["begin 0", "begin 1"]
    rows = [batch.rows for batch in (first, second, rest)]
    assert encoder.events == ["begin 0", "begin 1", "end 0", "end 1"]
    assert [batch.rows for batch in (first, second)][1] is rows[1]
    np.testing.assert_array_equal(np.concatenate(rows), encoder.encode_images(pictures))


def test_batches_before_one_that_fails_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.stream, "FLUSH_PICTURES", 8)  # two batches
    items = album(tmp_path / "a", 40)
    with pytest.raises(RuntimeError, match="the device is gone") as ended:
        Store(tmp_path / "cache").images(Launching(broken=3), items, tmp_path / "a", dataset="d")
    assert ended.value.__notes__ == [desk.KEPT]
    assert Store(tmp_path / "cache").purge(dataset="d") == 12
