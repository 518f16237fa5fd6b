"""The store: nothing encoded twice, nothing lost, nothing readable by others."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from audit.core.errors import InputError
from audit.core.terminal import Stopped, stoppable
from audit.data.images import pixel_digest
from audit.models.encoder import EncoderCard, Rows, unit_rows
from audit.store import embeddings, shelf, turns
from audit.store.embeddings import Store
from audit.store.shelf import Shelf, picture_key
from audit.store.stream import encode_stream

pytestmark = pytest.mark.filterwarnings("error")


class Colours:
    """Embeds a picture as its first pixel's colour and counts what it is asked."""

    def __init__(self, fingerprint: str = "f" * 64, slow: float = 0.0) -> None:
        self.card = EncoderCard(
            "colours", "test", 3, 1, 77, "none", 100.0, "float32", "cpu", fingerprint
        )
        self.slow, self.images, self.texts = slow, 0, 0

    def encode_images(self, images: Sequence[Image.Image]) -> Rows:
        self.images += len(images)
        time.sleep(self.slow * len(images))
        return self._rows([image.getpixel((0, 0)) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        self.texts += len(texts)
        return self._rows([(len(t) + 1, ord(t[0]), 1) for t in texts])

    def _rows(self, values: Sequence[object]) -> Rows:
        return unit_rows(np.array(values, dtype=np.float64).reshape(-1, 3) + 1)


class Staged(Colours):
    """The same, preprocessing apart; notes which thread does what."""

    batch_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, set[int]] = {"preprocess": set(), "encode": set()}
        self.batches: list[int] = []

    def preprocess(self, image: Image.Image) -> np.ndarray:
        self.threads["preprocess"].add(threading.get_ident())
        return np.asarray(image)[:1, :1]

    def encode_pixels(self, pixels: Sequence[np.ndarray]) -> Rows:
        self.threads["encode"].add(threading.get_ident())
        self.batches.append(len(pixels))
        self.images += len(pixels)
        return self._rows([tuple(p[0, 0]) for p in pixels])


def colour(i: int) -> tuple[int, int, int]:
    return (i * 37 % 256, i * 91 % 256, 1 + i % 255)


def album(folder: Path, count: int) -> list[tuple[str, Path]]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (6, 5), colour(i)).save(folder / f"{i}.png")
    return [(f"id{i}", Path(f"{i}.png")) for i in range(count)]


def truth(count: int) -> Rows:
    return Colours()._rows([colour(i) for i in range(count)])


# --- the contract


@pytest.mark.parametrize("kind", [Colours, Staged])
def test_a_second_run_encodes_nothing(kind: type[Colours], tmp_path: Path):
    items, seen = album(tmp_path / "a", 30), []
    encoder = kind()
    found, bad = Store(tmp_path / "cache").images(
        encoder, items, tmp_path / "a", progress=lambda *at: seen.append(at)
    )
    assert encoder.images == 30
    assert bad == []
    assert found.keys == tuple(f"id{i}" for i in range(30))
    assert found.fingerprint == encoder.card.fingerprint
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, truth(30))
    assert seen[-1] == (30, 30)
    again, _ = Store(tmp_path / "cache").images(encoder, items[::-1], tmp_path / "a")
    assert encoder.images == 30
    np.testing.assert_array_equal(again.vectors, found.vectors[::-1])


def test_a_second_run_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = album(tmp_path / "a", 10)
    first, _ = Store(tmp_path / "cache").images(Colours(), items, tmp_path / "a")
    monkeypatch.setattr(embeddings, "decode", None)
    again, bad = Store(tmp_path / "cache").images(Colours(), items, tmp_path / "a")
    assert bad == []
    np.testing.assert_array_equal(again.vectors, first.vectors)


def test_the_key_is_the_picture_not_the_file(tmp_path: Path):
    items = album(tmp_path / "a", 3)
    store, encoder = Store(tmp_path / "cache"), Colours()
    store.images(encoder, items, tmp_path / "a")
    Image.open(tmp_path / "a/0.png").save(tmp_path / "a/copy.bmp")
    found, _ = store.images(encoder, [("copy", Path("copy.bmp"))], tmp_path / "a")
    assert encoder.images == 3
    np.testing.assert_array_equal(found.vectors[0], truth(1)[0])
    Image.new("RGB", (6, 5), "white").save(tmp_path / "a/0.png")
    changed, _ = store.images(encoder, items, tmp_path / "a")
    assert encoder.images == 4
    assert np.abs(changed.vectors[0] - truth(1)[0]).max() > 0.01


def test_regions_of_one_file_are_pictures_of_their_own(tmp_path: Path):
    both = Image.new("RGB", (6, 5), colour(1))
    both.paste(colour(2), (3, 0, 6, 5))
    both.save(tmp_path / "both.png")
    named = [("left", Path("both.png#xywh=0,0,3,5")), ("right", Path("both.png#xywh=3,0,3,5"))]
    for _ in range(2):  # as decoded, and as remembered by the file's digest
        found, lost = Store(tmp_path / "cache").images(Colours(), named, tmp_path)
        assert not lost
        assert np.allclose(found.vectors, Colours()._rows([colour(1), colour(2)]), atol=1e-6)


def test_models_do_not_share(tmp_path: Path):
    items, store = album(tmp_path / "a", 3), Store(tmp_path / "cache")
    one, two = Colours("1" * 64), Colours("2" * 64)
    store.images(one, items, tmp_path / "a")
    store.images(two, items, tmp_path / "a")
    assert (one.images, two.images) == (3, 3)
    assert store.purge_fingerprint("1" * 64)
    assert not store.purge_fingerprint("1" * 64)
    store.images(one, items, tmp_path / "a")
    store.images(two, items, tmp_path / "a")
    assert (one.images, two.images) == (6, 3)
    with pytest.raises(InputError, match="not a fingerprint"):
        store.purge_fingerprint("../..")


class Inverted:
    name = "inverted"

    def __call__(self, image: Image.Image) -> Image.Image:
        return ImageOps.invert(image)


def test_an_alteration_is_another_picture(tmp_path: Path):
    items, store, encoder = album(tmp_path / "a", 2), Store(tmp_path / "cache"), Colours()
    plain, _ = store.images(encoder, items, tmp_path / "a")
    for _ in range(2):
        other, _ = store.images(encoder, items, tmp_path / "a", alteration=Inverted())
    assert encoder.images == 4
    want = Colours()._rows([tuple(255 - c for c in colour(i)) for i in range(2)])
    np.testing.assert_array_equal(other.vectors, want)
    np.testing.assert_array_equal(store.images(encoder, items, tmp_path / "a")[0].vectors, plain.vectors)  # fmt: skip  # noqa: E501
    digest = pixel_digest(Image.open(tmp_path / "a/0.png"))
    assert picture_key(digest) == bytes.fromhex(digest)
    assert picture_key(digest, "inverted") != picture_key(digest, "blurred")


class Reducing(Staged):
    """Says how large a decoded picture has to be, and remembers how large they were."""

    least: int | None = 6

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def reduced(self) -> Reducing:
        return self

    def preprocess(self, image: Image.Image) -> np.ndarray:
        self.sizes.append(image.size)
        return super().preprocess(image)


def test_pictures_decoded_at_a_smaller_scale_are_others(tmp_path: Path):
    (tmp_path / "a").mkdir()
    Image.linear_gradient("L").resize((32, 24)).save(tmp_path / "a/0.jpg")
    os.utime(tmp_path / "a/0.jpg", (1, 1))  # old enough to be remembered
    items, encoder = [("id0", Path("0.jpg"))], Reducing()
    found = {}
    for _ in range(2):  # the second time nothing is decoded, whatever was remembered between
        for least in (6, None, 12):
            encoder.least = least
            store = Store(tmp_path / "cache")
            found[least] = store.images(encoder, items, tmp_path / "a")[0].pixels
    assert encoder.sizes == [(8, 6), (32, 24), (16, 12)]
    assert len({tuple(pixels.tolist()) for pixels in found.values()}) == 3
    encoder.least = 6  # what is altered is told in pixels of the whole picture
    store.images(encoder, items, tmp_path / "a", alteration=Inverted())
    assert encoder.sizes[3:] == [(32, 24)]


def test_texts_are_kept_by_their_exact_words(tmp_path: Path):
    store, encoder = Store(tmp_path), Colours()
    rows = store.texts(encoder, ["a dog", "a cat!", "a dog"])
    assert encoder.texts == 2
    np.testing.assert_array_equal(rows[0], rows[2])
    again = Store(tmp_path).texts(encoder, ["a cat!", "A cat!"])
    assert encoder.texts == 3
    np.testing.assert_array_equal(again[0], rows[1])
    assert store.texts(encoder, []).shape == (0, 3)


def test_no_pictures_at_all(tmp_path: Path):
    found, bad = Store(tmp_path).images(Colours(), [])
    assert found.vectors.shape == (0, 3)
    assert bad == []


def test_unusable_pictures_are_quarantined_in_place(tmp_path: Path):
    items = album(tmp_path / "a", 4)
    (tmp_path / "a/1.png").write_bytes(b"")
    (tmp_path / "a/2.png").write_bytes(b"no picture")
    Image.new("RGB", (5, 5)).save(tmp_path / "outside.png")
    os.mkfifo(tmp_path / "a/pipe.png")
    items += [("gone", Path("gone.png")), ("out", Path("../outside.png")), ("p", Path("pipe.png"))]
    for _ in range(2):
        found, bad = Store(tmp_path / "cache").images(Colours(), items, tmp_path / "a")
        assert found.keys == ("id0", "id3")
        np.testing.assert_array_equal(found.vectors, truth(4)[[0, 3]])
        assert [(b.image_id, b.reason) for b in bad] == [
            ("id1", "empty"), ("id2", "not an image"), ("gone", "missing"),
            ("out", "outside the folder"), ("p", "not an image"),
        ]  # fmt: skip
        assert "2.png" in bad[1].detail


def test_a_smaller_limit_is_not_fooled_by_the_memo(tmp_path: Path):
    items, store = album(tmp_path / "a", 1), Store(tmp_path / "cache")
    assert store.images(Colours(), items, tmp_path / "a")[1] == []
    _, bad = store.images(Colours(), items, tmp_path / "a", max_pixels=29)
    assert [b.reason for b in bad] == ["too large"]


# --- encoding while decoding


def test_stream_keeps_order_and_batches_and_works_ahead():
    encoder = Staged()
    pictures = {i: Image.new("RGB", (2, 2), colour(i)) for i in range(11)}
    found = list(encode_stream(encoder, lambda i: None if i % 5 == 0 else pictures[i], range(11)))
    items = [i for batch in found for i in batch.items]
    assert items == [1, 2, 3, 4, 6, 7, 8, 9]
    np.testing.assert_array_equal(np.concatenate([b.rows for b in found]), truth(11)[items])
    assert encoder.batches[:2] == [4, 4]
    assert found[-1].seen == 11
    assert encoder.threads["encode"] == {threading.get_ident()}
    assert threading.get_ident() not in encoder.threads["preprocess"]


class Touchy(Staged):
    """Raises without pictures, and on pictures wider than ten."""

    def preprocess(self, image: Image.Image) -> object:
        if image.width > 10:
            raise MemoryError if image.width > 11 else ValueError("too wide for me")
        return super().preprocess(image)

    def encode_pixels(self, pixels: Sequence[object]) -> Rows:
        assert pixels, "called without pictures"
        return super().encode_pixels(pixels)


def test_an_encoder_is_never_called_without_pictures(tmp_path: Path):
    class Plain(Colours):
        def encode_images(self, images: Sequence[Image.Image]) -> Rows:
            assert images, "called without pictures"
            return super().encode_images(images)

    items, store = album(tmp_path / "a", 8), Store(tmp_path / "cache")
    for encoder in (Plain("a" * 64), Touchy()):
        for _ in range(2):  # the second time all are known
            found, lost = store.images(encoder, items, tmp_path / "a")
            assert (len(found.keys), lost) == (8, [])
        found, lost = store.images(encoder, [("x", Path("none.png"))], tmp_path / "a")
        assert (found.vectors.shape, [q.reason for q in lost]) == ((0, 3), ["missing"])
        assert store.images(encoder, [], tmp_path / "a")[0].vectors.shape == (0, 3)


def test_what_fails_in_preprocessing_or_an_alteration_is_set_aside(tmp_path: Path):
    items, store = album(tmp_path / "a", 5), Store(tmp_path / "cache")
    for name, width in (("wide", 11), ("wider", 12)):
        Image.new("RGB", (width, 3), "red").save(tmp_path / "a" / f"{name}.png")
        items.insert(2, (name, Path(f"{name}.png")))
    found, lost = store.images(Touchy(), items, tmp_path / "a")
    assert len(found.keys) == 5
    np.testing.assert_array_equal(found.vectors, truth(5))
    assert [(q.image_id, str(q.path), q.reason) for q in lost] == [
        ("wider", "wider.png", "too large"),
        ("wide", "wide.png", "not prepared"),
    ]
    assert "wide.png: not prepared: too wide for me." in lost[1].detail

    class Picky:
        name = "picky"

        def __call__(self, image: Image.Image) -> Image.Image:
            if image.width > 10:
                raise ZeroDivisionError
            return image

    found, lost = store.images(Colours(), items, tmp_path / "a", alteration=Picky())
    assert (len(found.keys), [q.image_id for q in lost]) == (5, ["wider", "wide"])


def test_stream_holds_few_pictures_in_memory():
    started, gap = [0], []

    def load(i: int) -> Image.Image:
        started[0] += 1
        return Image.new("RGB", (2, 2))

    for batch in encode_stream(Staged(), load, range(400)):
        gap.append(started[0] - batch.seen)
    assert max(gap) <= 2 * Staged.batch_size + 1


def test_stream_overlaps():
    """A picture of the next batch is loaded while one is encoded: each waits for the other."""
    changed, loaded, begun = threading.Condition(), set[int](), [0]

    def wait_for(so) -> None:
        changed.notify_all()
        assert changed.wait_for(so, timeout=10)

    class Waiting(Staged):
        def encode_pixels(self, pixels: Sequence[np.ndarray]) -> Rows:
            with changed:
                begun[0] += 1
                first = begun[0] * Staged.batch_size
                wait_for(lambda: first in loaded or first >= 24)
            return super().encode_pixels(pixels)

    def load(i: int) -> Image.Image:
        with changed:
            if i % Staged.batch_size == 0:
                wait_for(lambda: begun[0] * Staged.batch_size >= i)
            loaded.add(i)
            changed.notify_all()
        return Image.new("RGB", (2, 2))

    assert sum(len(batch.items) for batch in encode_stream(Waiting(), load, range(24), 2)) == 24


def test_an_error_in_loading_is_raised():
    def load(i: int) -> Image.Image:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(encode_stream(Colours(), load, range(100)))


# --- damage, death and company


def shards(root: Path, kind: str) -> list[Path]:
    return sorted(root.glob(f"embeddings/*{kind}/*.shard"))


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "other"])
def test_a_damaged_shard_is_dropped_and_made_again(how: str, tmp_path: Path):
    items, encoder, cache = album(tmp_path / "a", 6), Colours(), tmp_path / "cache"
    Store(cache).images(encoder, items[:3], tmp_path / "a")
    Store(cache).images(encoder, items, tmp_path / "a")
    shard = shards(cache, "/images")[0]
    size = shelf._read_shard(shard, 12)[0].shape[0]  # type: ignore[index]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"flip": content, "cut": content[:-5], "empty": b"", "other": b"x" * 500}[how]
    shard.write_bytes(damaged)
    with pytest.warns(UserWarning, match="damaged, so it was dropped"):
        found, _ = Store(cache).images(encoder, items, tmp_path / "a")
    assert encoder.images == 6 + size
    np.testing.assert_array_equal(found.vectors, truth(6))
    assert not shard.exists()


def test_a_damaged_memo_is_dropped_and_nothing_is_encoded(tmp_path: Path):
    items, encoder, cache = album(tmp_path / "a", 6), Colours(), tmp_path / "cache"
    Store(cache).images(encoder, items, tmp_path / "a")
    for memo in cache.glob("embeddings/decoded/*.shard"):
        memo.write_bytes(memo.read_bytes()[::-1])
    with pytest.warns(UserWarning, match="decoded.*damaged"):
        found, _ = Store(cache).images(encoder, items, tmp_path / "a")
    assert encoder.images == 6
    np.testing.assert_array_equal(found.vectors, truth(6))


FILL = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_embeddings import Colours, album
from audit.store import embeddings
from audit.store import stream, turns
embeddings.FLUSH_PICTURES = stream.FLUSH_PICTURES = 16
folder, cache = Path({folder!r}), Path({cache!r})
items = [(f"id{{i}}", Path(f"{{i}}.png")) for i in range({count})]
encoder = Colours(slow={slow})
embeddings.Store(cache).images(encoder, items, folder, dataset="d", waiting=print)
print(encoder.images)
"""


def fill(folder: Path, cache: Path, count: int, slow: float) -> subprocess.Popen[bytes]:
    names = {"tests": str(Path(__file__).parent), "folder": str(folder), "cache": str(cache)}
    code = FILL.format(**names, count=count, slow=slow)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def wait_for_shards(cache: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(shards(cache, "/images")) < count and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_while_filling_loses_only_the_last_moments(tmp_path: Path):
    items, cache = album(tmp_path / "a", 400), tmp_path / "cache"
    process = fill(tmp_path / "a", cache, 400, slow=0.01)
    wait_for_shards(cache, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = sum(len(shelf._read_shard(s, 12)[0]) for s in shards(cache, "/images"))  # type: ignore[index]
    assert 48 <= kept < 400
    encoder = Colours()
    found, _ = Store(cache).images(encoder, items, tmp_path / "a", dataset="d")
    assert encoder.images == 400 - kept
    np.testing.assert_array_equal(found.vectors, truth(400))
    assert Store(cache).purge(dataset="d") == 400


def test_told_to_end_while_filling_loses_nothing(tmp_path: Path):
    class Interrupted(Staged):
        def encode_pixels(self, pixels: Sequence[np.ndarray]) -> Rows:
            if len(self.batches) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().encode_pixels(pixels)

    items, first, second = album(tmp_path, 30), Interrupted(), Staged()
    with stoppable(), pytest.raises(Stopped) as ended:
        Store(tmp_path / "cache").images(first, items, tmp_path)
    assert ended.value.__notes__ == ["what was encoded is kept"]
    kept, _ = Store(tmp_path / "cache").images(second, items, tmp_path)
    assert sum(first.batches) > 0
    assert sum(first.batches) + sum(second.batches) == 30
    np.testing.assert_allclose(kept.vectors, truth(30), atol=1e-6)


def _other(both: list[subprocess.Popen[bytes]], told: list[list[str]]) -> int:
    return next(p.pid for p, lines in zip(both, told, strict=True) if lines[-2] != "0")


@pytest.mark.slow
def test_who_waits_goes_on_where_a_killed_process_stopped(tmp_path: Path):
    items, cache = album(tmp_path / "a", 200), tmp_path / "cache"
    first = fill(tmp_path / "a", cache, 200, slow=0.01)
    wait_for_shards(cache, 2)
    threading.Timer(0.3, first.kill).start()
    said: list[str] = []
    encoder = Colours()
    Store(cache).images(encoder, items, tmp_path / "a", dataset="d", waiting=said.append)
    first.communicate()
    assert said == [f"another run (process {first.pid}) is encoding these pictures"]
    assert 0 < encoder.images <= 168
    kept = [_read_keys(s) for s in shards(cache, "/images")]
    assert sorted(sum(kept, [])) == sorted({*sum(kept, [])})  # nothing was encoded twice


def _read_keys(shard: Path) -> list[bytes]:
    return [key.tobytes() for key in shelf._read_shard(shard, 12)[0]]  # type: ignore[index]


@pytest.mark.slow
def test_two_processes_fill_one_store(tmp_path: Path):
    items, cache = album(tmp_path / "a", 120), tmp_path / "cache"
    both = [fill(tmp_path / "a", cache, 120, slow=0.002) for _ in range(2)]
    told = [process.communicate(timeout=120)[0].decode().split("\n") for process in both]
    # one does all the work; the other found everything, or said that it waits
    assert sorted(int(lines[-2]) for lines in told) == [0, 120]
    waited = [lines[:-2] for lines in told if lines[-2] == "0"]
    assert waited[0] in (
        [],
        [f"another run (process {_other(both, told)}) is encoding these pictures"],
    )
    encoder = Colours()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _ = Store(cache).images(encoder, items, tmp_path / "a")
    assert encoder.images == 0
    np.testing.assert_array_equal(found.vectors, truth(120))


@pytest.mark.slow
def test_a_run_that_stands_still_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "SILENCE", 0.3)
    said: list[str] = []
    with turns.Turn(tmp_path / "lock", said.append) as first:
        assert (first.take(), first.take(), said) == (True, False, [])
        with turns.Turn(tmp_path / "lock", said.append) as second:
            assert second.take()
    me = f"(process {os.getpid()})"
    assert said == [
        f"another run {me} is encoding these pictures",
        f"the other run {me} stands still",
    ]


def test_where_no_lock_can_be_had_all_do_the_work(tmp_path: Path):
    with turns.Turn(tmp_path / "gone" / "lock", pytest.fail) as turn:
        assert turn.take()
        turn.alive()


def test_one_store_sees_what_another_added(tmp_path: Path):
    items, one, two = album(tmp_path / "a", 4), Store(tmp_path / "c"), Store(tmp_path / "c")
    first, second = Colours(), Colours()
    one.images(first, items[:2], tmp_path / "a")
    two.images(second, items[:3], tmp_path / "a")
    one.images(first, items, tmp_path / "a")
    assert (first.images, second.images) == (3, 1)


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path):
    shelf = Shelf(tmp_path, 4)
    young, old = tmp_path / ".young.tmp", tmp_path / ".old.tmp"
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    shelf.refresh()
    assert (young.exists(), old.exists()) == (True, False)


# --- care


def test_only_the_owner_can_read_and_git_does_not_see(tmp_path: Path):
    before = os.umask(0)
    try:
        items, cache = album(tmp_path / "a", 3), tmp_path / "cache"
        store = Store(cache)
        store.images(Colours(), items, tmp_path / "a", dataset="d", clusters={"id0": "ann"})
        store.texts(Colours(), ["x"])
    finally:
        os.umask(before)
    made = [cache, *cache.rglob("*")]
    assert len(made) > 10
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (cache / ".gitignore").read_text() == "*\n"
    assert (cache / "embeddings/.gitignore").read_text() == "*\n"
    named = b"".join(p.read_bytes() for p in cache.rglob("*") if p.is_file())
    assert b"ann" not in named
    assert b".png" not in named


def test_an_open_cache_is_closed(tmp_path: Path):
    (tmp_path / "embeddings").mkdir(mode=0o755)
    Store(tmp_path).texts(Colours(), ["x"])
    assert stat.S_IMODE((tmp_path / "embeddings").stat().st_mode) == 0o700


def filled(tmp_path: Path) -> tuple[Store, list[tuple[str, Path]]]:
    items, store = album(tmp_path / "a", 6), Store(tmp_path / "cache")
    clusters = {f"id{i}": f"subject {i // 2}" for i in range(6)}
    for alteration in (None, Inverted()):
        for model in "12":
            store.images(Colours(model * 64), items, tmp_path / "a", dataset="people",
                         clusters=clusters, alteration=alteration)  # fmt: skip
    return store, items


def left(store: Store, items: list[tuple[str, Path]], folder: Path) -> list[int]:
    encoder = Colours("1" * 64)
    asked = []
    for item in items:
        before = encoder.images
        store.images(encoder, [item], folder)
        asked.append(1 - (encoder.images - before))
    return asked


def test_purging_a_subject(tmp_path: Path):
    store, items = filled(tmp_path)
    assert store.purge(dataset="people", cluster_ids=["subject 1"]) == 2 * 2 * 2
    gone = truth(6)[2].tobytes()
    assert not any(gone in p.read_bytes() for p in tmp_path.rglob("*.shard"))
    assert Store(tmp_path / "cache").purge(dataset="people", cluster_ids=["subject 1"]) == 0
    assert left(Store(tmp_path / "cache"), items, tmp_path / "a") == [1, 1, 0, 0, 1, 1]
    assert Store(tmp_path / "cache").purge(dataset="people", cluster_ids=["subject 2"]) == 8


def test_purging_a_dataset_leaves_others(tmp_path: Path):
    store, items = filled(tmp_path)
    album(tmp_path / "b", 8)
    other = [(f"o{i}", Path(f"{i}.png")) for i in (6, 7)]
    store.images(Colours("1" * 64), other, tmp_path / "b", dataset="other")
    assert store.purge(dataset="people") == 6 * 2 * 2
    assert store.purge(dataset="people") == 0
    assert store.purge(dataset="nobody") == 0
    assert left(store, items, tmp_path / "a") == [0] * 6
    assert left(store, other, tmp_path / "b") == [1, 1]


def test_purging_by_key_forgets_the_file_too(tmp_path: Path):
    items, store = album(tmp_path / "a", 3), Store(tmp_path / "cache")
    store.images(Colours(), items, tmp_path / "a")
    digest = pixel_digest(Image.open(tmp_path / "a/1.png"))
    assert store.purge(keys=[digest]) == 1
    files = [p.read_bytes() for p in (tmp_path / "cache").rglob("*.shard")]
    assert not any(bytes.fromhex(digest) in content for content in files)
    assert store.purge(keys=[digest]) == 0
    encoder = Colours()
    found, _ = store.images(encoder, items, tmp_path / "a")
    assert encoder.images == 1
    np.testing.assert_array_equal(found.vectors, truth(3))


def test_a_second_run_notes_nothing_new(tmp_path: Path):
    store, items = filled(tmp_path)
    before = sorted((tmp_path / "cache").rglob("*"))
    clusters = {f"id{i}": f"subject {i // 2}" for i in range(6)}
    again = Store(tmp_path / "cache")
    again.images(Colours("1" * 64), items, tmp_path / "a", dataset="people", clusters=clusters)
    assert sorted((tmp_path / "cache").rglob("*")) == before


# --- a cache that can't be used


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = album(tmp_path / "a", 3)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(tmp_path / "cache")
    store.texts(Colours(), ["x"])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cache.*No space left on device.*--cache"):
        store.images(Colours(), items, tmp_path / "a")
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_an_unwritable_cache_is_a_sentence_before_any_work(tmp_path: Path):
    (tmp_path / "cache").write_text("a file, not a folder")
    encoder = Colours()
    with pytest.raises(InputError, match=r"cache.*can't be written: Not a directory.*--cache"):
        Store(tmp_path / "cache").images(encoder, album(tmp_path / "a", 2), tmp_path / "a")
    assert encoder.images == 0


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CLIP_AUDIT_CACHE", raising=False)
    assert Store().root == Path("cache")
    monkeypatch.setenv("CLIP_AUDIT_CACHE", str(tmp_path))
    assert Store().root == tmp_path
    assert Store(tmp_path / "x").root == tmp_path / "x"


# --- files that are not read again


def aged(folder: Path, seconds: float = 60) -> None:
    """Every file of a folder as if it were written so long ago."""
    for path in folder.iterdir():
        os.utime(path, times=(time.time() - seconds,) * 2)


def opened_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened from now on."""
    names: list[str] = []
    opened = embeddings.opened

    def noted(path: Path):
        names.append(path.name)
        return opened(path)

    monkeypatch.setattr(embeddings, "opened", noted)
    return names


def test_a_file_of_the_same_size_and_time_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store, encoder = tmp_path / "a", Store(tmp_path / "cache"), Colours()
    items = album(folder, 5)
    aged(folder)
    first, _ = store.images(encoder, items, folder)
    names = opened_by(monkeypatch)
    again, _ = Store(tmp_path / "cache").images(encoder, items, folder)
    assert names == []
    assert again.pixels.tolist() == first.pixels.tolist()
    np.testing.assert_array_equal(again.vectors, first.vectors)
    Image.new("RGB", (6, 5), "navy").save(folder / "3.png")  # it has another time, and a new one
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes())  # so has this, with old bytes
    changed, _ = Store(tmp_path / "cache").images(encoder, items, folder)
    assert sorted(set(names)) == ["3.png", "4.png"]
    assert encoder.images == 6
    assert changed.pixels[3] != first.pixels[3]
    assert changed.pixels[4] == first.pixels[4]
    names.clear()
    verifying = Store(tmp_path / "cache", verify=True)
    assert (verifying.trust, Store(tmp_path / "cache").trust) == (
        "read again",
        "taken by size and time",
    )
    checked, _ = verifying.images(encoder, items, folder)
    assert len(set(names)) == 5
    assert checked.pixels.tolist() == changed.pixels.tolist()


def test_a_file_that_may_still_change_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, encoder = tmp_path / "a", Colours()
    items = album(folder, 2)  # written now
    Store(tmp_path / "cache").images(encoder, items, folder)
    names = opened_by(monkeypatch)
    Store(tmp_path / "cache").images(encoder, items, folder)
    assert sorted(set(names)) == ["0.png", "1.png"]


def test_a_link_that_leads_to_another_file_or_outside_is_seen(tmp_path: Path) -> None:
    folder, encoder = tmp_path / "a", Colours()
    items = album(folder, 2)
    (tmp_path / "secret.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "link.png").symlink_to("0.png")
    aged(folder)
    aged(tmp_path)
    asked = [*items, ("link", Path("link.png"))]
    first, _ = Store(tmp_path / "cache").images(encoder, asked, folder)
    assert first.pixels[2] == first.pixels[0]
    for target, expected in (("1.png", first.pixels[1]), ("../secret.png", None)):
        (folder / "link.png").unlink()
        (folder / "link.png").symlink_to(target)
        found, bad = Store(tmp_path / "cache").images(encoder, asked, folder)
        if expected is None:
            assert [one.reason for one in bad] == ["outside the folder"]
        else:
            assert found.pixels[2] == expected


def test_what_is_purged_is_not_remembered(tmp_path: Path) -> None:
    folder, encoder = tmp_path / "a", Colours()
    items = album(folder, 3)
    aged(folder)
    store = Store(tmp_path / "cache")
    store.images(encoder, items, folder, dataset="d")
    files = tmp_path / "cache" / "embeddings" / "files"
    assert len(list(files.glob("*.shard"))) == 1
    assert store.purge(dataset="d") == 3
    assert list(files.glob("*.shard")) == []
