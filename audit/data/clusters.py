"""What repeats: clusters in several ways at once, and how many pictures of each are used."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.remarks import Remark


def joined(manifest: Manifest, card: Card, where: str) -> tuple[Manifest, Card, Remark]:
    """Rows whose clusters hold whole clusters of every column named, the smallest that do.

    Whatever shares a video or a camera, with a row that does and so on, is one cluster, so that
    none of the ways in which pictures may depend on each other is cut through: wider intervals than
    those of a two-way cluster-robust variance, and right where there are few clusters.

    Raises:
        InputError: a column isn't there or is the only one, or all rows are one cluster.
    """
    names = [name for name in (card.cluster_column, *card.cluster_also) if name]
    table = manifest.table
    for name in names:
        if name not in table:
            raise unknown("column", name, list(map(str, table.columns)), where=where)
    if twice := next((name for name in names if names.count(name) > 1), None):
        told = f"{where}: 'cluster_also' names '{twice}', which is named already"
        raise InputError(told, "Name what repeats beside it, or take it out")
    if len(names) < 2:
        told = (
            f"{where}: 'cluster_also' says what repeats beside 'cluster_column', which is not set"
        )
        raise InputError(told, "Name the first of them there")
    codes = [pd.factorize(table[name])[0] for name in names]
    nothing = np.all([code < 0 for code in codes], axis=0)
    if nothing.any():
        told = f"{where}: row {table.index[int(nothing.argmax())] + 1} below the header is in none"
        step = "If nothing repeats there, give it an id of its own"
        raise InputError(f"{told} of {', '.join(names)}", step)
    ends = np.cumsum([len(table), *(code.max() + 1 for code in codes)])
    places = zip(codes, ends[:-1], strict=True)
    edges = np.hstack([(np.flatnonzero(code >= 0), at + code[code >= 0]) for code, at in places])
    graph = sparse.coo_array((np.ones(edges.shape[1]), edges), (ends[-1], ends[-1]))
    _, found = connected_components(graph, directed=False)
    label, kinds = " and ".join(names), pd.factorize(found[: len(table)])[0]
    sizes = ", ".join(
        f"{int(code.max()) + 1:,} by '{name}'" for code, name in zip(codes, names, strict=True)
    )
    if kinds.max() == 0:
        told = f"{where}: everything shares '{label}' with everything else: one cluster ({sizes})"
        raise InputError(told, "Uncertainty can't be told from one; name fewer columns")
    said = f"clusters are the {kinds.max() + 1:,} that hold whole ones of '{label}' ({sizes})"
    columns = table.assign(**{label: kinds.astype(str).astype(object)})
    card = card.model_copy(update={"cluster_column": label})
    return replace(manifest, table=columns), card, Remark(said)


def capped(table: pd.DataFrame, card: Card, where: str) -> pd.DataFrame:
    """No more pictures of a cluster than the card allows, those whose ids' hashes come first."""
    if card.most_per_cluster is None:
        return table
    if card.cluster_column is None:
        told = f"{where}: 'most_per_cluster' caps what repeats, and no 'cluster_column' says what"
        raise InputError(told, "Name that column, or take the cap out")
    digests = table["image_id"].map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    chosen = table.loc[digests.sort_values().index].groupby("cluster_id")
    return table.loc[chosen.head(card.most_per_cluster).index.sort_values()].reset_index(drop=True)
