"""Deleting what is kept of people: by data set, by subject, or by a list of withdrawn consent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.core.errors import InputError
from audit.core.terminal import say

if TYPE_CHECKING:
    from audit.store.embeddings import Store

Cache = Annotated[Path, typer.Option(help="folder of stored embeddings", envvar="CLIP_AUDIT_CACHE")]


def purge(
    dataset: Annotated[str | None, typer.Option(help="the data set's name")] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="only these subjects (cluster ids)")
    ] = None,
    withdrawn: Annotated[
        str | None,
        typer.Option(
            metavar="SUITE", help="those whom the list of withdrawn consent of its data set names"
        ),
    ] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Delete stored embeddings: of a data set, of subjects, of those who withdrew consent."""
    from audit.store.embeddings import Store

    if (dataset is None) == (withdrawn is None) or (withdrawn and subject):
        told = "say whose embeddings are to be deleted"
        ways = "Either '--dataset NAME', perhaps with '--subject ID', or '--withdrawn SUITE'"
        raise InputError(told, ways)
    store = Store(cache)
    if withdrawn:
        _withdrawn(store, withdrawn)
    elif dataset:
        _named(store, dataset, subject)


def _named(store: Store, dataset: str, subjects: Sequence[str] | None) -> None:
    """Delete a data set's embeddings, or those of some subjects.

    Raises:
        InputError: nothing is kept under such a name; of known subjects all is deleted before.
    """
    from audit.store.uses import subject_digest

    known = store.known(dataset)
    if not known:
        told = f"{store.root} holds nothing of a data set named '{dataset}'"
        raise InputError(told, _others(store), "The name is that in its data card")
    strangers = [s for s in subjects or () if subject_digest(s) not in known]
    gone = store.purge(dataset=dataset, cluster_ids=subjects or None)
    _deleted(gone, store)
    if strangers:
        named = ", ".join(f"'{s}'" for s in strangers)
        told = f"of {len(subjects or ())} subjects of '{dataset}' {len(strangers)} are not in "
        advice = "A subject is what the card's 'cluster_column' holds, else the picture's id"
        raise InputError(f"{told}{store.root}: {named}", advice)


def _withdrawn(store: Store, ref: str) -> None:
    """Delete what is kept of those whom the list beside a suite's data set names.

    Raises:
        InputError: no such suite, or there is no list.
    """
    from audit.data.withdrawn import LIST
    from audit.engine.suite import load_suite

    data = load_suite(ref).pictures
    gone = data.withdrawn
    if gone is None:
        told = f"the data set '{data.name}' has no list of withdrawn consent"
        advice = f"Write '{LIST}' beside its card or in its root, a picture's id or subject a line"
        raise InputError(told, advice)
    # an entry that names nobody any more may still be kept from when it did
    pictures = {*gone.image_ids, *gone.entries}
    deleted = store.purge(dataset=data.name, cluster_ids=gone.entries, image_ids=pictures)
    _deleted(deleted, store, f": those of '{data.name}' whom {gone.file} names")
    if unmatched := gone.unmatched_in_words():
        say(unmatched, style="yellow")


def _others(store: Store) -> str | None:
    """The data sets with a name of the tool's own of which something is kept."""
    from audit.data.dataset import dataset_names, load
    from audit.data.sources import SOURCES

    names = {*dataset_names(), *SOURCES, *(load(name).name for name in dataset_names())}
    found = sorted(name for name in names if store.known(name))
    return f"Of these it does: {', '.join(found)}" if found else None


def _deleted(gone: int, store: Store, more: str = "") -> None:
    say(f"{gone:,} stored embeddings deleted from {store.root}{more}")
