"""Pairs from tables, folders and shards; batches by step; what is broken is counted, not hidden."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import COLOURS, plan, shard, table

from audit.core.errors import InputError
from audit.data.images import Unreadable
from audit.training.beginning import begin
from audit.training.config import TrainConfig
from audit.training.feeds.batches import Feed, Share, padded
from audit.training.feeds.sources import FolderFeed, ManifestFeed, ShardsFeed


def feed(config: TrainConfig, out: Path, **more: Any) -> Feed:
    pairs = config.feed.opened(config.seed)
    begun = begin(config, pairs, out)
    return Feed(config, pairs, begun.prepare, begun.words, **more)


def as_words(made: Feed, tokens: torch.Tensor) -> list[str]:
    whole = made.words.tokenizer.splits.decode_batch(tokens.tolist(), skip_special_tokens=False)
    return [text.replace("</w>", " ") for text in whole]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    names = list(COLOURS)
    shard(folder / "0.tar", names[:5])
    shard(folder / "1.tar", names[5:])
    return folder


# --- sources


def test_a_table_gives_its_pictures_and_all_captions_before_one_comes_again(tmp_path: Path):
    rows = "file;one;two\na.png;first;second\nb.png;;only\n"
    (tmp_path / "pairs.csv").write_text(rows)
    said = {"kind": "manifest", "path": tmp_path / "pairs.csv", "picture": "file"}
    pairs = ManifestFeed(**said, caption=("one", "two")).opened(0)
    assert [pairs.picture(i).name for i in range(len(pairs))] == ["a.png", "b.png"]
    assert sorted(pairs.captions(0, 0, 2)) == ["first", "second"]
    assert pairs.captions(1, 0, 3) == ["only"] * 3
    firsts = {pairs.captions(0, epoch, 1)[0] for epoch in range(20)}
    assert firsts == {"first", "second"}
    assert pairs.captions(0, 7, 2) == pairs.captions(0, 7, 2)
    with pytest.raises(InputError, match="no column named 'caption'"):
        ManifestFeed(**said).opened(0)


def test_a_folder_gives_pictures_with_text_beside_them(tmp_path: Path):
    for name, text in {"a": "one\ntwo\n", "sub/b": "three", "c": None}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").touch()
        if text is not None:
            (tmp_path / f"{name}.txt").write_text(text)
    pairs = FolderFeed(kind="folder", path=tmp_path).opened(0)
    assert list(pairs.names) == ["a.jpg", "c.jpg", "sub/b.jpg"]
    assert set(pairs.captions(0, 0, 2)) == {"one", "two"}
    assert pairs.captions(2, 0, 1) == ["three"]
    with pytest.raises(Unreadable, match=r"c.jpg: its caption is empty"):
        pairs.captions(1, 0, 1)


def test_a_folder_without_texts_is_a_sentence(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match="1 pictures and 0 text files. Put 001.txt"):
        FolderFeed(kind="folder", path=tmp_path).opened(0)
    with pytest.raises(InputError, match="no such folder"):
        FolderFeed(kind="folder", path=tmp_path / "b").opened(0)


def test_shards_are_read_where_they_lie(shards: Path):
    pairs = ShardsFeed(kind="shards", path=shards).opened(0)
    assert len(pairs) == 8
    assert [pairs.captions(i, 0, 1)[0] for i in (0, 4, 5, 7)] == [
        f"a {list(COLOURS)[i]} wall" for i in (0, 4, 5, 7)
    ]
    assert str(pairs.picture(5)).endswith("1.tar#yellow.png")
    by_key = ShardsFeed(kind="shards", path=shards, caption="json:said").opened(0)
    assert by_key.captions(1, 0, 2) == ["green", "green"]
    with pytest.raises(Unreadable, match=r"0.tar#red.json: its caption is empty"):
        ShardsFeed(kind="shards", path=shards, caption="json:other").opened(0).captions(0, 0, 1)


def test_shards_are_shuffled_within_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("audit.training.feeds.sources.WINDOW", 1)
    for i in range(4):
        shard(tmp_path / f"{i}.tar", list(COLOURS)[2 * i : 2 * i + 2])
    pairs = ShardsFeed(kind="shards", path=tmp_path).opened(0)
    orders = [pairs.order(np.random.default_rng(seed)) for seed in range(20)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert all(set(order[::2] // 2) == {0, 1, 2, 3} for order in orders)
    assert len({tuple(order) for order in orders}) > 15


def test_a_shard_that_ends_early_is_a_sentence(shards: Path, tmp_path: Path):
    whole = (shards / "0.tar").read_bytes()
    for length in (3000, len(whole) // 512 * 512 - 9216):
        (tmp_path / "0.tar").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"0\.tar: .*(cut|not a whole tar).*Get the whole"):
            ShardsFeed(kind="shards", path=tmp_path).opened(0)


def test_shards_without_pictures_are_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="has no zip or tar archive"):
        ShardsFeed(kind="shards", path=tmp_path).opened(0)


# --- batches


def test_a_batch_is_the_same_whenever_it_is_made(colours: Path, tmp_path: Path):
    plain = feed(plan(colours, batch=4), tmp_path)
    steps = [plain.batch(step) for step in range(5)]
    again = plain.batch(1)
    assert torch.equal(again.pixels, steps[1].pixels)
    assert torch.equal(again.tokens, steps[1].tokens)
    assert not torch.equal(steps[0].pixels, steps[2].pixels)
    assert steps[0].pixels.shape == (4, 16, 16, 3)
    assert steps[0].pixels.dtype == torch.uint8
    # each picture once an epoch, with its own caption
    words = as_words(plain, torch.cat([s.tokens for s in steps[:2]]))
    assert {re.findall(r"a (\w+) wall", text)[0] for text in words} == set(COLOURS)
    for batch in steps:
        for pixels, row in zip(batch.pixels, batch.tokens, strict=True):
            name = as_words(plain, row[None])[0].split()[1]
            ratio = pixels.float().mean(dim=(0, 1)) / torch.tensor(COLOURS[name])
            assert (ratio - 1).abs().max() < 0.15


def test_pictures_in_memory_or_not_are_the_same(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = plan(colours)
    held = feed(config, tmp_path)
    monkeypatch.setattr("audit.training.feeds.batches.HELD", 0)
    read = feed(config, tmp_path)
    assert held.held is not None
    assert read.held is None
    assert torch.equal(read.batch(3).pixels, held.batch(3).pixels)


def test_processes_share_a_batch(colours: Path, tmp_path: Path):
    config = plan(colours, captions=2)
    whole = feed(config, tmp_path).batch(2)
    parts = [feed(config, tmp_path, share=Share(rank, 2)).batch(2) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.pixels for part in parts]), whole.pixels)
    tokens = torch.cat([part.tokens.reshape(2, 4, -1) for part in parts], dim=1)
    assert torch.equal(tokens.flatten(0, 1), whole.tokens)
    with pytest.raises(InputError, match="batch 8 does not divide among 3 processes"):
        feed(config, tmp_path, share=Share(0, 3))


@pytest.mark.slow
def test_workers_make_the_same_batches(shards: Path, tmp_path: Path):
    config = plan(shards, feed={"kind": "shards", "path": shards}, batch=4)
    made = feed(config, tmp_path)
    ahead = list(made.ahead(range(3, 7), workers=2))
    for step, batch in zip(range(3, 7), ahead, strict=True):
        assert torch.equal(batch.pixels, made.batch(step).pixels)
        assert torch.equal(batch.tokens, made.batch(step).tokens)


def test_broken_pairs_are_replaced_and_told(tmp_path: Path):
    path = table(tmp_path / "own")
    (path.parent / "red.png").write_bytes(b"no picture")
    long = "a green wall " * 9
    rows = path.read_text().replace("a blue wall", " ").replace("a green wall", long)
    path.write_text(rows)
    made = feed(plan(path), tmp_path / "out")
    batch = made.batch(0)
    assert len(batch.pixels) == 8
    said = {each.picture: each.reason for each in batch.broken}
    assert said.keys() == {"red.png", "blue.png", "green.png"}
    assert "not an image" in said["red.png"]
    assert "caption is empty" in said["blue.png"]
    assert re.search(r"text of \d+ tokens is longer than the 12", said["green.png"])
    words = as_words(made, batch.tokens)
    assert not any(name in text for text in words for name in ("red", "blue", "green"))


def test_nothing_but_broken_pairs_is_a_sentence(tmp_path: Path):
    path = table(tmp_path / "own")
    path.write_text(re.sub("a .* wall", " ", path.read_text()))
    with pytest.raises(InputError, match=r"100 pairs in a row can't be used.*caption is empty"):
        feed(plan(path, tokenizer="specimen-even"), tmp_path / "out").batch(0)


def test_padding_repeats_the_end():
    assert padded([[1, 5, 9], [1, 9]]).tolist() == [[1, 5, 9], [1, 9, 9]]
