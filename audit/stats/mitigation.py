"""Two published ways to make embeddings say less of a protected attribute, and who they learn from.

Either removes more than the attribute: report what they cost in accuracy beside what they change in
disparities, both on pictures of subjects that had no part in fitting them.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Flags, Floats, Integers

Reals = npt.NDArray[np.floating]

BINS: Final = 16
"""Into how many a dimension is cut where mutual information is estimated."""

_SAME: Final = 1e-5  # of the largest singular value: embeddings have single precision
_AT_ONCE: Final = 32  # dimensions


# ---- projections, on the text side -------------------------------------------------------------


def projection(directions: npt.ArrayLike) -> Floats:
    """The projection that removes protected directions from embeddings.

    Formula: ``P0 = I - V (V'V)^-1 V'``, V having the directions as columns: embeddings of spurious
    prompts ("a photo of a man", "a photo of a woman"). Found from a singular value decomposition.
    Range: symmetric, eigenvalues 0 (as often as there are directions) and 1. Does not show: that
    the attribute is gone: other directions may carry it, and pictures still do. A prompt that also
    says something of a label takes that along, which costs accuracy and can open a gap the other
    way. What the prompts have in common goes too, and texts have much in common in CLIP; give
    differences of prompts to keep that.

    Args:
        directions: One a row, of any length, (k, d), with k < d; linearly independent.

    Returns:
        Matrix of shape (d, d), for ``project``.

    Raises:
        ValueError: No directions, as many as dimensions, or some that depend on others.

    Source:
        Chuang, Jampani, Li, Torralba, Jegelka (2023), arXiv 2302.00070, 3; Bolukbasi et al. (2016),
        arXiv 1607.06520, for words.
    """
    rows = _rows(directions, "projection").astype(np.float64)
    k, d = rows.shape
    if not 0 < k < d:
        raise ValueError(f"projection: {k} directions in {d} dimensions; give 1 to {d - 1}")
    _, size, basis = np.linalg.svd(rows, full_matrices=False)
    rank = int((size > _SAME * size[0]).sum())
    if rank < k:
        raise ValueError(
            f"projection: {k} directions of which only {rank} are independent;"
            " leave out prompts that repeat others"
        )
    return np.asarray(np.eye(d) - basis.T @ basis)


def calibrated(
    directions: npt.ArrayLike, one: npt.ArrayLike, other: npt.ArrayLike, weight: float = 1000.0
) -> Floats:
    """The same, calibrated so that prompts which should mean the same come to lie together.

    Formula: with m positive pairs z, z' ("a female doctor", "a male doctor") the matrix P that
    minimises ``||P - P0||² + weight / m * sum of ||P z - P z'||²``. Its gradient
    ``2 (P - P0) + 2 weight P M``, ``M = sum of (z - z') (z - z')' / m``, is 0 at
    ``P = P0 (I + weight M)^-1``.
    Range: neither symmetric nor a projection; for a small weight P0, for a large one
    ``P0`` after removal of all differences of pairs. The directions themselves are no longer sent
    to 0. Does not show: as ``projection``; what the labels lose. Chosen for embeddings of unit
    length: for others the weight means something else.

    Args:
        directions: As in ``projection``, (k, d).
        one: First of each pair, (m, d).
        other: Second of each pair, in the same order, (m, d).
        weight: How much pairs count, above 0; the paper takes 1000 for zero-shot and 500 for
            generation.

    Returns:
        Matrix of shape (d, d), for ``project``.

    Raises:
        ValueError: As ``projection``; a weight not above 0; pairs that do not match, none, or all
            of twice the same.

    Source:
        Chuang, Jampani, Li, Torralba, Jegelka (2023), arXiv 2302.00070, 3.2.
    """
    plain = projection(directions)
    first, second = (_rows(x, "calibrated").astype(np.float64) for x in (one, other))
    if not (weight > 0 and np.isfinite(weight)):
        raise ValueError(f"calibrated: weight {weight:g}; give one above 0, such as 1000")
    if first.shape != second.shape or first.shape[1] != len(plain) or not len(first):
        got = f"pairs of shapes {first.shape} and {second.shape}"
        raise ValueError(f"calibrated: {got}; give one row a pair in both, {len(plain)} wide")
    apart = first - second
    if not np.abs(apart).max() > _SAME:
        raise ValueError("calibrated: both of every pair are the same; give pairs that differ")
    spread = np.eye(len(plain)) + (weight / len(apart)) * apart.T @ apart
    return np.asarray(np.linalg.solve(spread, plain).T)  # both are symmetric


def project(vectors: npt.ArrayLike, matrix: npt.ArrayLike) -> Floats:
    """Embeddings after a projection, of unit length again.

    Both papers that this serves apply it to texts only; pictures stay as they are. Formula:
    ``P v / ||P v||``.

    Args:
        vectors: Embeddings of unit length, one a row, (n, d).
        matrix: From ``projection`` or ``calibrated``, (d, d).

    Raises:
        ValueError: Shapes that do not fit; an embedding of which nothing is left.
    """
    rows, p = _rows(vectors, "project"), np.asarray(matrix, dtype=np.float64)
    if p.shape != (rows.shape[1],) * 2:
        raise ValueError(f"project: embeddings {rows.shape} and a matrix {p.shape} do not fit")
    return np.asarray(_unit(rows @ p.T, "project"), dtype=np.float64)


# ---- dimensions left out, on both sides --------------------------------------------------------


def mutual_information(vectors: npt.ArrayLike, groups: npt.ArrayLike, bins: int = BINS) -> Floats:
    """How much each dimension of the embedding says of an attribute, taken alone.

    Formula: each dimension is cut at its quantiles into bins of like numbers of pictures, and
    ``I = sum over bins and groups of p(b, g) log(p(b, g) / (p(b) p(g)))`` of the shares counted.
    Range: nats, from 0 to the entropy of the groups; more says more. About
    ``(bins - 1)(groups - 1) / 2n`` of it is chance (more where subjects repeat), alike for all
    dimensions, so their order does not suffer. Does not show: what dimensions say together; a
    rotation of the embedding, which changes nothing else, changes all values. Any increasing
    transformation of a dimension leaves its value as it is, up to ties.

    Args:
        vectors: Embeddings of the pictures that teach, (n, d).
        groups: Group of each, any codes, (n,); leave out pictures whose group is unknown.
        bins: How many, at least 2.

    Returns:
        One value a dimension, (d,).

    Raises:
        ValueError: Shapes that do not fit, a single group, fewer than 2 bins, fewer pictures than
            bins.

    Source:
        Cover, Thomas (2006), Elements of Information Theory, 2.3; Miller (1955), for the chance
        part. Wang, Liu, Wang (2021) take a smoothed histogram of 64 equal widths, which follows
        outliers.
    """
    rows = _rows(vectors, "mutual_information")
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    if code.shape != rows.shape[:1]:
        raise ValueError(f"mutual_information: {len(rows)} embeddings, {code.size} groups")
    if names.size < 2:
        raise ValueError(
            "mutual_information: all pictures are of one group; an attribute needs two or more"
        )
    if not 2 <= bins <= len(rows):
        raise ValueError(
            f"mutual_information: {bins} bins for {len(rows)} pictures; give 2 or more"
        )
    member = np.eye(names.size)[code]
    blocks = (rows[:, b : b + _AT_ONCE].T.copy() for b in range(0, rows.shape[1], _AT_ONCE))
    return np.concatenate([_information(columns, member, bins) for columns in blocks])


def least_informative(
    vectors: npt.ArrayLike, groups: npt.ArrayLike, m: int, bins: int = BINS
) -> Integers:
    """The m dimensions that say least of an attribute (CLIP-clip), for ``keep``.

    Formula: those of least ``mutual_information``; in a tie the first. Range: numbers of
    dimensions, ascending. Does not show: that the attribute is gone: what the dimensions kept say
    together may be all of it.

    Args:
        vectors: Embeddings of the pictures that teach, (n, d): no subject of theirs may be among
            those judged afterwards; see ``teaching_half``.
        groups: Group of each, (n,).
        m: How many to keep, from 1 to d - 1. The paper's code keeps 400 of 512.
        bins: As in ``mutual_information``.

    Raises:
        ValueError: m out of range, and as ``mutual_information``.

    Source:
        Wang, Liu, Wang (2021), arXiv 2109.05433, 3.2. Their published code ranks dimensions on the
        very pictures it then judges.
    """
    d = _rows(vectors, "least_informative").shape[1]
    if not 0 < m < d:
        raise ValueError(f"least_informative: {m} of {d} dimensions; give 1 to {d - 1}")
    order = np.argsort(mutual_information(vectors, groups, bins), kind="stable")
    return np.sort(order[:m]).astype(np.int64)


def keep(vectors: npt.ArrayLike, kept: npt.ArrayLike, unit: bool = True) -> Reals:
    """Only some dimensions of embeddings; do the same to pictures and to texts.

    In the precision given.

    Args:
        vectors: Embeddings of unit length, (n, d).
        kept: Which dimensions, (m,).
        unit: Make them of unit length again, so that no picture or text ranks lower for what it
            lost. False is the rule of the paper's code.

    Raises:
        ValueError: A dimension that is not there or is named twice; an embedding of which nothing
            is left (with ``unit``).
    """
    rows, which = _rows(vectors, "keep"), np.asarray(kept)
    d = rows.shape[1]
    if not (which.ndim == 1 and which.size and which.min() >= 0 and which.max() < d):
        raise ValueError(f"keep: dimensions must be one or more of 0 to {d - 1}")
    if np.unique(which).size < which.size:
        raise ValueError("keep: a dimension is named twice; name each once")
    return _unit(rows[:, which], "keep") if unit else rows[:, which]


# ---- who teaches -------------------------------------------------------------------------------


def teaching_half(subjects: npt.ArrayLike, seed: int) -> Flags:
    """Which pictures a mitigation is fitted on; the others are those it is judged on.

    Formula: the last bit of a digest of the seed and the subject's id. All pictures of a subject
    fall on one side, and no other subject has a say in which. Range: about half of the subjects,
    give or take ``sqrt(subjects) / 2``.

    Args:
        subjects: Subject of each picture, any ids, told apart by their text, (n,).
        seed: The suite's seed.

    Returns:
        True for pictures that teach, (n,).

    Raises:
        ValueError: All subjects on one side.
    """
    names, which = np.unique(np.asarray(subjects).astype(str), return_inverse=True)
    teaches = np.array([_bit(f"{seed}\x1f{name}") for name in names], dtype=bool)
    if teaches.all() or not teaches.any():
        raise ValueError(
            f"teaching_half: {names.size} subject(s), all on one side; give more subjects"
        )
    return np.asarray(teaches[which.reshape(-1)])


def _bit(name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"teaching half").digest()
    return digest[0] & 1


def _information(columns: Reals, member: Floats, bins: int) -> Floats:
    """Mutual information of a few dimensions, one a row of ``columns``, with the groups."""
    above = np.zeros((bins + 1, len(columns), member.shape[1]))  # counts above each cut
    above[0] = member.sum(axis=0)
    cuts = np.quantile(columns, np.arange(1, bins) / bins, axis=1)
    for place, cut in enumerate(cuts.astype(columns.dtype), start=1):
        above[place] = (columns > cut[:, np.newaxis]) @ member
    share = -np.diff(above, axis=0) / len(member)  # (bins, dimensions, groups)
    apart = share.sum(axis=0, keepdims=True) * share.sum(axis=2, keepdims=True)
    return np.asarray(special.rel_entr(share, apart).sum(axis=(0, 2)))


def _rows(values: npt.ArrayLike, where: str) -> Reals:
    """Embeddings in the precision they come in: many of them are not copied."""
    rows = np.asarray(values)
    rows = rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float64)
    if rows.ndim != 2:
        raise ValueError(f"{where}: embeddings of shape {rows.shape}; give one a row")
    if not np.isfinite(rows).all():
        raise ValueError(f"{where}: an embedding that is not finite; leave it out")
    return rows


def _unit(rows: Reals, where: str) -> Reals:
    """Rows of length 1; one of which nothing is left has no direction."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    gone = np.flatnonzero(length[:, 0] <= _SAME)
    if gone.size:
        raise ValueError(
            f"{where}: nothing is left of embedding {gone[0]}; it says no more than what is removed"
        )
    return np.asarray(rows / length)
