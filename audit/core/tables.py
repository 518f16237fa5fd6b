"""The schema of every table that crosses a border: between modules and on disk.

A table is a pandas DataFrame in long form. Every rate and disparity has a ``status`` and, unless
the status is ``ok``, a ``reason``; an undefined number is NaN and never 0.

>>> import audit
>>> audit.tables.WITHIN
'within margin'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from audit.core.errors import InputError
from audit.core.rows import Row
from audit.core.schema import COUNT, FLAG, NUMBER, TEXT, Schema, counts, numbers, texts
from audit.core.verdicts import Verdict

OK: Final = "ok"
TOO_FEW: Final = "too_few"
UNDEFINED: Final = "undefined"
NOT_ASKED: Final = "not_asked"
WITHHELD: Final = "withheld"
STATUSES: Final = (OK, TOO_FEW, UNDEFINED, NOT_ASKED, WITHHELD)

EXCEEDS: Final = Verdict.EXCEEDS.value
WITHIN: Final = Verdict.WITHIN.value
INCONCLUSIVE: Final = Verdict.INCONCLUSIVE.value
NOT_JUDGED: Final = Verdict.NOT_JUDGED.value
VERDICTS: Final = (EXCEEDS, WITHIN, INCONCLUSIVE, NOT_JUDGED)

#: a question fixed in the suite, and one taken for the size of its gap
DECLARED: Final = "declared"
CHOSEN: Final = "chosen"
#: how a question came to be asked; runs of earlier versions do not say
SELECTIONS: Final = (DECLARED, CHOSEN, "")

DIFFERENCE: Final = "difference"
RATIO: Final = "ratio"
WORST: Final = "worst_case_gap"
SPREAD: Final = "between_group_sd"
DEPARTURE: Final = "departure_from_additivity"
COMPARISONS: Final = (DIFFERENCE, RATIO, WORST, SPREAD, DEPARTURE)

#: the role of a claim: declared in the suite before the run, or looked at besides
PRIMARY: Final = "primary"
EXPLORATORY: Final = "exploratory"

#: the headline condition of a classification task: prompts of all templates averaged
ENSEMBLE: Final = "ensemble"
#: the group "everyone else" in a comparison
REST: Final = "the rest"
#: the attribute and group of the whole data set
EVERYONE: Final = "everyone"
#: what parts the names in a key
BETWEEN: Final = " | "
#: pictures whose group isn't known: shown as their own row, never in a family
UNKNOWN: Final = "unknown"
#: what is said where nobody is compared with anybody
NO_GROUPS: Final = (
    "The suite names no attribute of who is shown, so no group is compared with another: what is "
    "told is how many get which label, and how that changes with words, thresholds and pictures. "
    "Whether it falls on some people more than on others can't be told."
)


def require_finite(values: ArrayLike, what: str) -> None:
    """Refuse scores that are not numbers: NaN would count as below every threshold.

    Raises:
        InputError: one is NaN or infinite.
    """
    wrong = int((~np.isfinite(np.asarray(values, dtype=np.float64))).sum())
    if wrong:
        told = f"{what}: {wrong:,} of {np.size(values):,} are not finite"
        step = "Look at the model: its logit scale, its weights, its precision"
        raise InputError(told, step)


def records(table: pd.DataFrame) -> list[Row]:
    """The rows of a table."""
    return cast(list[Row], table.to_dict("records"))


_ASKED: Final = texts("probe task condition")
_QUESTION: Final = texts("metric label margin_family attribute")
_COMPARED: Final = _QUESTION | texts("comparison group other")
_GROUP: Final = texts("probe task attribute group")
_COUNTED: Final = counts("n subjects events")
_BOUNDED: Final = numbers("value low high low_simultaneous high_simultaneous")
_FAMILY: Final = {"family": TEXT, "family_size": COUNT}
_STATED: Final = texts("method status reason")
_JUDGED: Final = {**_FAMILY, "margin": NUMBER, **_STATED, "verdict": TEXT}

#: one row a picture: which label was chosen, how surely, and which would have been right.
#: ``score`` is the softmax probability of the chosen label at the model's own logit scale,
#: ``margin`` the cosine similarity by which it beat the second, ``tie`` marks margins so small
#: that the choice may change with the batch size; ``truth`` is missing where it isn't known.
CHOICES: Final = Schema(
    "choices",
    {
        **_ASKED,
        **texts("image_id predicted"),
        **numbers("score margin"),
        "tie": FLAG,
        "truth": TEXT,
    },
    key=(*_ASKED, "image_id"),
    nullable=frozenset({"truth"}),
)

#: one row a group: how often something happened, with an interval at ``level``. ``effective_n`` is
#: how many independent pictures the group is worth where subjects repeat, ``unweighted`` the
#: bootstrap replicates in which it has no weight at all, ``pooled`` the rate of an intersection
#: drawn towards what its attributes say without it (beside the raw rate, never instead).
RATES: Final = Schema(
    "rates",
    {
        **_ASKED,
        **_QUESTION,
        "group": TEXT,
        **_COUNTED,
        **numbers("value low high level effective_n"),
        "unweighted": COUNT,
        **numbers("pooled pooled_low pooled_high"),
        **_STATED,
    },
    key=(*_ASKED, "metric", "label", "attribute", "group"),
    allowed={"status": STATUSES},
)

#: one row a comparison. ``value`` is group minus other (difference), group over other (ratio) or
#: the largest difference between any two groups (worst-case gap; group and other name the two).
#: ``low, high`` hold for this row alone, ``low_simultaneous, high_simultaneous`` for all rows of
#: ``family`` at once (each of them at ``level_each``); the verdict uses the latter. ``q`` is
#: adjusted for the family and can't be below ``smallest_q``, ``screening`` is the false discovery
#: rate over all differences of the run. ``null_mean, null_high``: the mean and 95 % quantile of a
#: worst-case gap when subjects are dealt to groups by chance. A family is all pairs of a question.
#: ``low_equivalence, high_equivalence`` hold for one pair, with an error of 1 - level on each side
#: (two one-sided tests); of a worst-case gap the latter is the largest of all pairs. Its verdict
#: rests on ``low_simultaneous`` if *exceeds margin*, on ``high_equivalence`` if *within margin*,
#: and on the same of the ``ratio`` where ``ratio_margin`` binds; ``basis`` names the scale.
#: ``role``: *primary* if the suite declared it, *exploratory* else. ``p_margin``: against the
#: margin; ``q_margin``: Holm's over the primary claims, or the false discovery rate over the
#: exploratory ones. ``left_out``: groups that are too small to show a gap. ``between_group_sd`` is
#: the standard deviation of the groups' rates less sampling noise; ``departure_from_additivity``
#: that of an intersection's rates from what its attributes add up to. Neither is judged.
#: ``pooled_...``: the same comparison of an intersection's cells by the model that draws small
#: cells in (``audit.measure.intersections``), beside the raw one; no finding or gate reads it.
DISPARITIES: Final = Schema(
    "disparities",
    {
        "key": TEXT,
        **_ASKED,
        **_COMPARED,
        **counts("n n_other subjects subjects_other events events_other"),
        **_BOUNDED,
        **numbers("level level_each p q smallest_q screening null_mean null_high"),
        **_FAMILY,
        **numbers("detectable margin low_equivalence high_equivalence"),
        **numbers("ratio ratio_low ratio_high ratio_margin"),
        "basis": TEXT,
        **numbers("p_margin q_margin"),
        **texts("role left_out"),
        **_STATED,
        "verdict": TEXT,
        **numbers("pooled_value pooled_low pooled_high"),
        **numbers("pooled_low_simultaneous pooled_high_simultaneous"),
        "pooled_verdict": TEXT,
    },
    key=("key",),
    allowed={
        "comparison": COMPARISONS,
        "role": ("", PRIMARY, EXPLORATORY),
        "status": STATUSES,
        "verdict": VERDICTS,
        "pooled_verdict": ("", *VERDICTS),
    },
)

#: one row a control: the analysis with group labels shuffled ``shuffles`` times (planted 0), or
#: with an injected gap. ``comparisons`` looked at each time. Shuffled: in ``exceeds_margin``
#: shuffles something exceeds the margin, in ``missed`` some simultaneous bounds leave out 0; chance
#: explains up to ``allowed`` of either, and ``covered`` says that it explains those missed.
#: Injected: ``exceeds_margin`` of the comparisons; ``covered``: the simultaneous bounds of all hold
#: the planted gap. The bounds are those of the surest comparison.
CONTROLS: Final = Schema(
    "controls",
    {
        **texts("probe task attribute control label group"),
        **numbers("planted value low_simultaneous high_simultaneous"),
        **counts("comparisons shuffles allowed exceeds_margin missed"),
        "covered": FLAG,
        "reason": TEXT,
    },
    key=("probe", "task", "attribute", "control"),
    allowed={"control": ("shuffled", "injected")},
)

#: one row a group. ``overconfidence`` is mean score minus accuracy with an interval at ``level``;
#: ``ece`` stands beside its mean and ``level`` quantile in a perfectly calibrated model with these
#: scores, pictures of a subject taken as wholly dependent, the widest case (``ece_null,
#: ece_null_high``), and its mean were they independent; ``ece_above`` is ``ece - ece_null`` and may
#: be negative.
CALIBRATION: Final = Schema(
    "calibration",
    {
        **_GROUP,
        **counts("n subjects"),
        **numbers("accuracy mean_score overconfidence low high level"),
        **numbers("ece ece_null ece_null_high ece_null_independent ece_above"),
        **_STATED,
    },
    key=tuple(_GROUP),
    allowed={"status": STATUSES},
)

#: one row a group and bin of scores above ``bin_low`` up to ``bin_high``; empty bins are kept.
#: ``low, high`` bound the share correct at ``level``.
RELIABILITY: Final = Schema(
    "reliability",
    {
        **_GROUP,
        **numbers("bin_low bin_high"),
        **counts("n subjects"),
        **numbers("mean_score share_correct low high level"),
        **texts("status reason"),
    },
    key=(*_GROUP, "bin_low"),
    allowed={"status": STATUSES},
)

#: one row an attribute: the two groups whose overconfidence differs most, ``group`` the higher.
#: ``low, high`` bound the size of the widest gap, with all ``pairs`` of groups bounded at once.
CALIBRATION_GAPS: Final = Schema(
    "calibration_gaps",
    {
        **_GROUP,
        "other": TEXT,
        **numbers("value low high level"),
        "pairs": COUNT,
        **_STATED,
    },
    key=("probe", "task", "attribute"),
    allowed={"status": STATUSES},
)

_CURVE: Final = {
    **texts("probe task metric label attribute group other selection"),
    "candidates": COUNT,
}

#: one row a wording of a question: the gap ``group`` less ``other``. ``selection``: whether the
#: question was 'declared' in the suite, or 'chosen' for its gap among so many ``candidates`` (blank
#: and 0 in runs of earlier versions). ``low_simultaneous, high_simultaneous`` hold for all wordings
#: of all candidates at once. ``null_low, null_high``: where this place of the sorted curve lies
#: when whole subjects are dealt to the groups by chance, and the choice is made again.
#: ``reworded``: how many labels the phrasing changes; ``alteration``: what was done to the
#: pictures; ``left_out``: pictures that some alteration lost, which are asked in no wording.
SPECIFICATIONS: Final = Schema(
    "specifications",
    {
        **_CURVE,
        **texts("wording template article"),
        "shift": NUMBER,
        "phrasing": TEXT,
        "reworded": COUNT,
        "alteration": TEXT,
        **counts("left_out n n_other"),
        **_BOUNDED,
        **numbers("null_low null_high margin"),
        "verdict": TEXT,
    },
    key=("probe", "task", "metric", "label", "attribute", "wording"),
    allowed={"verdict": VERDICTS, "selection": SELECTIONS},
)

#: one row a curve. ``mean`` over wordings (the model) and ``spread`` over wordings net of sampling
#: noise (the question), ``model_share`` of the two; shares of wordings that agree, beside what
#: chance gives; p-values of the joint test on so many ``deals``; variance shares of single choices;
#: ``needed`` wordings for a generalisability of 0.9. Of a question that was chosen, the bounds of
#: mean, spread and share hold for all ``candidates`` at once, and p is that of the largest of them.
SENSITIVITY: Final = Schema(
    "sensitivity",
    {
        **_CURVE,
        "wordings": COUNT,
        **numbers("headline mean low high spread spread_low spread_high"),
        **numbers("model_share model_share_low model_share_high"),
        **numbers("agree_sign agree_sign_null agree_verdict"),
        "common_verdict": TEXT,
        **numbers("p_median p_sign p_large smallest_p"),
        "deals": COUNT,
        **numbers("share_picture share_group share_template share_group_template share_rest"),
        **numbers("generalisability generalisability_low generalisability_high"),
        **numbers("needed kendall_w"),
        "reason": TEXT,
    },
    key=("probe", "task", "metric", "label", "attribute"),
    allowed={"selection": SELECTIONS},
)

#: one row a group: how steady the choice for a picture is over wordings, both from 0 to 1.
STABILITY: Final = Schema(
    "stability",
    {
        **_GROUP,
        **counts("n subjects"),
        **numbers("flips flips_low flips_high entropy entropy_low entropy_high"),
    },
    key=tuple(_GROUP),
)

DROP: Final = "drop"
ADD: Final = "add"
SWAP: Final = "swap"
CONDITION: Final = "condition"
#: ``comparison`` of a row that is about one group's rate
RATE: Final = "rate"


def _changes(asked: str, sides: str, counted: str, values: str, more: str = "") -> dict[str, str]:
    """Columns of a paired change, by what differs between tables of such changes.

    Args:
        asked: what was asked on either side.
        sides: whom the largest gap of the second side is between.
        counted: how many pictures, subjects, and events that came and went.
        values: a rate or gap on either side, whose difference is ``value``.
        more: other numbers.
    """
    return {
        **texts(asked),
        **_COMPARED,
        **texts(sides),
        **counts(counted),
        **numbers(values),
        **_BOUNDED,
        **numbers(f"level level_each {more}"),
        **_JUDGED,
    }


#: one row a pair of groups (``difference``) or a label and attribute (``worst_case_gap``). ``a`` is
#: the first run and ``b`` the second; ``value`` is ``gap_b - gap_a``, in shares. A difference is
#: ``group`` minus ``other``, so turned that the larger of both gaps is positive. A worst-case gap
#: is the largest between any two groups: ``group`` and ``other`` in a, ``group_b`` and ``other_b``
#: in b. ``n`` and ``subjects`` are asked in both; ``gained``: it happened in b only, ``lost``: in a
#: only. ``low, high`` hold for this row alone, ``low_simultaneous, high_simultaneous`` for all rows
#: of this comparison in ``family`` at once; the verdict holds the latter against the margin.
CHANGES: Final = Schema(
    "changes",
    _changes(
        "key run_a run_b task task_b condition condition_b",
        "group_b other_b",
        "n n_other subjects subjects_other gained gained_other lost lost_other",
        "gap_a gap_b",
    ),
    key=("key",),
    allowed={"comparison": (DIFFERENCE, WORST), "status": STATUSES, "verdict": VERDICTS},
)

#: one row an edit, question and group (``rate``), or an edit, question and attribute
#: (``worst_case_gap``). ``before`` and ``after``: the rate of the group, or the largest gap between
#: any two groups, without and with the edit; ``value`` is after less before, in shares. ``gained``:
#: pictures of which it holds after only, ``lost``: before only. A *swap* compares two sets of one
#: size: before, the label ``dropped`` is offered without its counter label ``added``; after, the
#: counter label without it. A *condition* is another way of asking everything, held against the
#: headline. ``carries``: of the pictures of this group for which the family is
#: chosen from the set as it is, the share that choose ``dropped``. ``low, high`` hold for this row
#: alone, ``low_simultaneous, high_simultaneous`` for all rates, or all gaps, of ``family`` at once;
#: the verdict holds the latter against the margin. A gap has the latter only. ``group, other`` are
#: the widest gap's groups before, ``group_after, other_after`` after.
EFFECTS: Final = Schema(
    "effects",
    _changes(
        "probe task edit condition dropped added",
        "group_after other_after",
        "n subjects gained lost",
        "before after",
        "carries carries_low carries_high",
    ),
    key=(
        "probe", "task", "edit", "condition", "dropped", "added", "metric", "label", "attribute",
        "comparison", "group", "other",
    ),
    allowed={
        "edit": (DROP, ADD, SWAP, CONDITION),
        "comparison": (RATE, WORST),
        "status": STATUSES,
        "verdict": VERDICTS,
    },
)  # fmt: skip

#: one row a threshold, question and group (``rate``), or attribute (``worst_case_gap``). ``metric``
#: says what is counted: a label kept, any label of a family kept, the right label missed, a wrong
#: one kept, or (``mean_labels_kept``, no share) the mean number of labels kept. Gaps of the sweep
#: show a curve and are not judged. ``chi_squared`` ranks the labels of one attribute and threshold
#: by how surely groups differ, whatever the size of the difference.
THRESHOLDS: Final = Schema(
    "thresholds",
    {
        **texts("probe task"),
        "threshold": NUMBER,
        **_COMPARED,
        **_COUNTED,
        **_BOUNDED,
        **numbers("chi_squared p q level"),
        **_JUDGED,
    },
    key=(
        "probe", "task", "threshold", "metric", "label", "attribute", "comparison", "group",
        "other",
    ),
    allowed={"comparison": (RATE, WORST), "status": STATUSES, "verdict": VERDICTS},
)  # fmt: skip

#: one row a value that is not a share of choices: a skew of a ranking, an effect size, a paired
#: change, an error rate of verification. ``value`` is in ``unit``; ``low, high`` hold for this row
#: alone, ``low_simultaneous, high_simultaneous`` for all rows of ``family`` at once; the verdict
#: holds the latter against ``margin``. ``null_mean, null_low, null_high``: mean and outer quantiles
#: if groups were dealt by chance; ``excess`` is value less null_mean. ``condition`` says what was
#: changed about the question (a target, a depth, a corruption). Rows with a ``statement`` become
#: findings, of the kind of ``harm`` named.
MEASURES: Final = Schema(
    "measures",
    {
        "key": TEXT,
        **_ASKED,
        **_QUESTION,
        **texts("group other"),
        **_COUNTED,
        "value": NUMBER,
        "unit": TEXT,
        **numbers("low high low_simultaneous high_simultaneous level"),
        **numbers("null_mean null_low null_high excess p q smallest_p"),
        **_JUDGED,
        **texts("harm statement"),
    },
    key=("key",),
    allowed={"status": STATUSES, "verdict": VERDICTS},
)

_OUTCOME: Final = {**_ASKED, "image_id": TEXT}

#: one row a picture and score: ``label`` is what was scored
SCORES: Final = Schema(
    "scores",
    {**_OUTCOME, "label": TEXT, "value": NUMBER},
    key=(*_ASKED, "label", "image_id"),
)

#: one row a picture kept in the ranking for a ``query``, best first; ``rank`` counts from 1
RANKS: Final = Schema(
    "ranks",
    {**_OUTCOME, "query": TEXT, "rank": COUNT, "score": NUMBER},
    key=(*_ASKED, "query", "image_id"),
)

#: one row a pair of pictures of one family or subject: what was ``changed`` between them, how far
#: apart they are (``distance``), and what it did to the score of ``label`` (``delta``: other less
#: this one) and to the choice (``flipped``). Of a change, ``image_id`` is the base, ``other_id``
#: the changed picture, and ``step`` is signed.
PAIRS: Final = Schema(
    "pairs",
    {
        **_OUTCOME,
        **texts("other_id changed label"),
        "delta": NUMBER,
        "flipped": FLAG,
        **numbers("step distance"),
    },
    key=(*_ASKED, "label", "changed", "image_id", "other_id"),
)

#: what a probe may write, by name
OUTCOMES: Final[Mapping[str, Schema]] = {s.name: s for s in (CHOICES, SCORES, RANKS, PAIRS)}


def keys_of(names: pd.DataFrame) -> pd.Series[str]:
    """Each row's names as one key; a bar inside a name is escaped, so no two rows share one."""
    escaped = names.astype(str).map(in_key)
    return escaped.iloc[:, 0].str.cat(escaped.iloc[:, 1:], sep=BETWEEN)


def in_key(name: str) -> str:
    """A name as it stands in a key."""
    return name.replace("|", "\\|")
