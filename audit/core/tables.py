"""The schema of every table that crosses a border: between modules and on disk.

A table is a pandas DataFrame in long form. Every rate and disparity has a ``status`` and, unless
the status is ``ok``, a ``reason``; an undefined number is NaN and never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from audit.core.errors import InputError, sentence
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

TEXT: Final = "str"
NUMBER: Final = "float64"
COUNT: Final = "int64"
FLAG: Final = "bool"


@dataclass(frozen=True)
class Schema:
    """Columns of a table: name to dtype, those that may be missing, and the closed vocabularies."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[str, ...]] | None = None

    def conform(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with exactly these columns, in this order and type, a fresh index."""
        kept = table.loc[:, list(self.columns)].reset_index(drop=True)
        dtypes = kept.dtypes
        wrong = {name: dtype for name, dtype in self.columns.items() if dtypes[name] != dtype}
        return kept.astype(wrong) if wrong else kept  # what is right already is not copied

    def empty(self) -> pd.DataFrame:
        """A table of this schema without rows."""
        return self._empty.copy()

    @cached_property
    def _empty(self) -> pd.DataFrame:
        return self.conform(pd.DataFrame(columns=list(self.columns)))

    def validate(self, table: pd.DataFrame) -> pd.DataFrame:
        """Check a table at a disk border.

        Raises:
            pandera.errors.SchemaErrors: a column is missing, extra, of another type or vocabulary.
        """
        if self._holds(table):
            return table
        import pandera.pandas as pa  # says what is wrong; it takes a second to import

        vocabulary = self.allowed or {}
        columns = {
            name: pa.Column(
                dtype,
                pa.Check.isin(vocabulary[name]) if name in vocabulary else None,
                nullable=name in self.nullable or dtype == NUMBER,
            )
            for name, dtype in self.columns.items()
        }
        schema = pa.DataFrameSchema(columns, strict=True, unique=list(self.key), name=self.name)
        return cast(pd.DataFrame, schema.validate(table, lazy=True))

    def _holds(self, table: pd.DataFrame) -> bool:
        """Whether nothing can be wrong with a table, as it mostly is; in doubt False."""
        if sorted(table.columns) != sorted(self.columns):
            return False
        for name, values in table.items():
            dtype, missing = self.columns[str(name)], values.isna()
            vocabulary = (self.allowed or {}).get(str(name))
            if values.dtype != dtype:
                return False
            if missing.any() and not (name in self.nullable or dtype == NUMBER):
                return False
            if vocabulary is not None and not (missing | values.isin(vocabulary)).all():
                return False
        return not table.duplicated(list(self.key)).any()

    def write(self, table: pd.DataFrame, path: Path) -> None:
        """Write as Parquet, checked; the same table gives the same bytes."""
        self.validate(self.conform(table)).to_parquet(path, index=False)

    def packed(self, table: pd.DataFrame) -> bytes:
        """What ``write`` writes."""
        return bytes(self.validate(self.conform(table)).to_parquet(None, index=False))

    def filled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with every column of this schema; those that it lacks are empty."""
        empty: dict[str, Any] = {TEXT: "", COUNT: 0, FLAG: False, NUMBER: float("nan")}
        return table.assign(**{c: empty[t] for c, t in self.columns.items() if c not in table})

    def read(self, path: Path, mend: Callable[[Any], Any] = lambda read: read) -> pd.DataFrame:
        """Read a Parquet file of this schema, checked; columns that came later are empty."""
        return self.validate(self.conform(self.filled(mend(pd.read_parquet(path)))))


def require_finite(values: Any, what: str) -> None:
    """Refuse scores that are not numbers: NaN would count as below every threshold.

    Raises:
        InputError: one is NaN or infinite.
    """
    wrong = int((~np.isfinite(np.asarray(values, dtype=np.float64))).sum())
    if wrong:
        told = f"{what}: {wrong:,} of {np.size(values):,} are not finite"
        step = "Look at the model: its logit scale, its weights, its precision"
        raise InputError(sentence(told, step))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as mappings, column to value."""
    return cast(list[dict[str, Any]], table.to_dict("records"))


_ASKED = {"probe": TEXT, "task": TEXT, "condition": TEXT}
_MEASURED = {**_ASKED, "metric": TEXT, "label": TEXT, "margin_family": TEXT, "attribute": TEXT}

#: one row a picture: which label was chosen, how surely, and which would have been right.
#: ``score`` is the softmax probability of the chosen label at the model's own logit scale,
#: ``margin`` the cosine similarity by which it beat the second, ``tie`` marks margins so small
#: that the choice may change with the batch size; ``truth`` is missing where it isn't known.
CHOICES: Final = Schema(
    "choices",
    {
        **_ASKED,
        "image_id": TEXT,
        "predicted": TEXT,
        "score": NUMBER,
        "margin": NUMBER,
        "tie": FLAG,
        "truth": TEXT,
    },
    key=("probe", "task", "condition", "image_id"),
    nullable=frozenset({"truth"}),
)

#: one row a group: how often something happened, with an interval at ``level``. ``effective_n`` is
#: how many independent pictures the group is worth where subjects repeat, ``unweighted`` the
#: bootstrap replicates in which it has no weight at all, ``pooled`` the rate of an intersection
#: drawn towards what its attributes say without it (beside the raw rate, never instead).
RATES: Final = Schema(
    "rates",
    {
        **_MEASURED,
        "group": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "events": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "level": NUMBER,
        "effective_n": NUMBER,
        "unweighted": COUNT,
        "pooled": NUMBER,
        "pooled_low": NUMBER,
        "pooled_high": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
    },
    key=("probe", "task", "condition", "metric", "label", "attribute", "group"),
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
        **_MEASURED,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "n": COUNT,
        "n_other": COUNT,
        "subjects": COUNT,
        "subjects_other": COUNT,
        "events": COUNT,
        "events_other": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "level_each": NUMBER,
        "p": NUMBER,
        "q": NUMBER,
        "smallest_q": NUMBER,
        "screening": NUMBER,
        "null_mean": NUMBER,
        "null_high": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "detectable": NUMBER,
        "margin": NUMBER,
        "low_equivalence": NUMBER,
        "high_equivalence": NUMBER,
        "ratio": NUMBER,
        "ratio_low": NUMBER,
        "ratio_high": NUMBER,
        "ratio_margin": NUMBER,
        "basis": TEXT,
        "p_margin": NUMBER,
        "q_margin": NUMBER,
        "role": TEXT,
        "left_out": TEXT,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
        "pooled_value": NUMBER,
        "pooled_low": NUMBER,
        "pooled_high": NUMBER,
        "pooled_low_simultaneous": NUMBER,
        "pooled_high_simultaneous": NUMBER,
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
        "probe": TEXT,
        "task": TEXT,
        "attribute": TEXT,
        "control": TEXT,
        "label": TEXT,
        "group": TEXT,
        "planted": NUMBER,
        "value": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "comparisons": COUNT,
        "shuffles": COUNT,
        "allowed": COUNT,
        "exceeds_margin": COUNT,
        "missed": COUNT,
        "covered": FLAG,
        "reason": TEXT,
    },
    key=("probe", "task", "attribute", "control"),
    allowed={"control": ("shuffled", "injected")},
)

_GROUP: Final = {"probe": TEXT, "task": TEXT, "attribute": TEXT, "group": TEXT}

#: one row a group. ``overconfidence`` is mean score minus accuracy with an interval at ``level``;
#: ``ece`` stands beside its mean and ``level`` quantile in a perfectly calibrated model with these
#: scores, pictures of a subject taken as wholly dependent, the widest case (``ece_null,
#: ece_null_high``), and its mean were they independent; ``ece_above`` is ``ece - ece_null`` and may
#: be negative.
CALIBRATION: Final = Schema(
    "calibration",
    {
        **_GROUP,
        "n": COUNT,
        "subjects": COUNT,
        "accuracy": NUMBER,
        "mean_score": NUMBER,
        "overconfidence": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "level": NUMBER,
        "ece": NUMBER,
        "ece_null": NUMBER,
        "ece_null_high": NUMBER,
        "ece_null_independent": NUMBER,
        "ece_above": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
    },
    key=("probe", "task", "attribute", "group"),
    allowed={"status": STATUSES},
)

#: one row a group and bin of scores above ``bin_low`` up to ``bin_high``; empty bins are kept.
#: ``low, high`` bound the share correct at ``level``.
RELIABILITY: Final = Schema(
    "reliability",
    {
        **_GROUP,
        "bin_low": NUMBER,
        "bin_high": NUMBER,
        "n": COUNT,
        "subjects": COUNT,
        "mean_score": NUMBER,
        "share_correct": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "level": NUMBER,
        "status": TEXT,
        "reason": TEXT,
    },
    key=("probe", "task", "attribute", "group", "bin_low"),
    allowed={"status": STATUSES},
)

#: one row an attribute: the two groups whose overconfidence differs most, ``group`` the higher.
#: ``low, high`` bound the size of the widest gap, with all ``pairs`` of groups bounded at once.
CALIBRATION_GAPS: Final = Schema(
    "calibration_gaps",
    {
        **_GROUP,
        "other": TEXT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "level": NUMBER,
        "pairs": COUNT,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
    },
    key=("probe", "task", "attribute"),
    allowed={"status": STATUSES},
)

_CURVE: Final = {
    "probe": TEXT,
    "task": TEXT,
    "metric": TEXT,
    "label": TEXT,
    "attribute": TEXT,
    "group": TEXT,
    "other": TEXT,
    "selection": TEXT,
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
        "wording": TEXT,
        "template": TEXT,
        "article": TEXT,
        "shift": NUMBER,
        "phrasing": TEXT,
        "reworded": COUNT,
        "alteration": TEXT,
        "left_out": COUNT,
        "n": COUNT,
        "n_other": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "null_low": NUMBER,
        "null_high": NUMBER,
        "margin": NUMBER,
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
        "headline": NUMBER,
        "mean": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "spread": NUMBER,
        "spread_low": NUMBER,
        "spread_high": NUMBER,
        "model_share": NUMBER,
        "model_share_low": NUMBER,
        "model_share_high": NUMBER,
        "agree_sign": NUMBER,
        "agree_sign_null": NUMBER,
        "agree_verdict": NUMBER,
        "common_verdict": TEXT,
        "p_median": NUMBER,
        "p_sign": NUMBER,
        "p_large": NUMBER,
        "smallest_p": NUMBER,
        "deals": COUNT,
        "share_picture": NUMBER,
        "share_group": NUMBER,
        "share_template": NUMBER,
        "share_group_template": NUMBER,
        "share_rest": NUMBER,
        "generalisability": NUMBER,
        "generalisability_low": NUMBER,
        "generalisability_high": NUMBER,
        "needed": NUMBER,
        "kendall_w": NUMBER,
        "reason": TEXT,
    },
    key=("probe", "task", "metric", "label", "attribute"),
    allowed={"selection": SELECTIONS},
)

#: one row a group: how steady the choice for a picture is over wordings, both from 0 to 1.
STABILITY: Final = Schema(
    "stability",
    {
        "probe": TEXT,
        "task": TEXT,
        "attribute": TEXT,
        "group": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "flips": NUMBER,
        "flips_low": NUMBER,
        "flips_high": NUMBER,
        "entropy": NUMBER,
        "entropy_low": NUMBER,
        "entropy_high": NUMBER,
    },
    key=("probe", "task", "attribute", "group"),
)

DROP: Final = "drop"
ADD: Final = "add"
SWAP: Final = "swap"
CONDITION: Final = "condition"
#: ``comparison`` of a row that is about one group's rate
RATE: Final = "rate"

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
    {
        "probe": TEXT,
        "task": TEXT,
        "edit": TEXT,
        "condition": TEXT,
        "dropped": TEXT,
        "added": TEXT,
        "metric": TEXT,
        "label": TEXT,
        "margin_family": TEXT,
        "attribute": TEXT,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "group_after": TEXT,
        "other_after": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "gained": COUNT,
        "lost": COUNT,
        "before": NUMBER,
        "after": NUMBER,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "level_each": NUMBER,
        "carries": NUMBER,
        "carries_low": NUMBER,
        "carries_high": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
    },
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
        "probe": TEXT,
        "task": TEXT,
        "threshold": NUMBER,
        "metric": TEXT,
        "label": TEXT,
        "margin_family": TEXT,
        "attribute": TEXT,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "events": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "chi_squared": NUMBER,
        "p": NUMBER,
        "q": NUMBER,
        "level": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
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
        **_MEASURED,
        "group": TEXT,
        "other": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "events": COUNT,
        "value": NUMBER,
        "unit": TEXT,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "null_mean": NUMBER,
        "null_low": NUMBER,
        "null_high": NUMBER,
        "excess": NUMBER,
        "p": NUMBER,
        "q": NUMBER,
        "smallest_p": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
        "harm": TEXT,
        "statement": TEXT,
    },
    key=("key",),
    allowed={"status": STATUSES, "verdict": VERDICTS},
)

_OUTCOME: Final = {**_ASKED, "image_id": TEXT}

#: one row a picture and score: ``label`` is what was scored
SCORES: Final = Schema(
    "scores",
    {**_OUTCOME, "label": TEXT, "value": NUMBER},
    key=("probe", "task", "condition", "label", "image_id"),
)

#: one row a picture kept in the ranking for a ``query``, best first; ``rank`` counts from 1
RANKS: Final = Schema(
    "ranks",
    {**_OUTCOME, "query": TEXT, "rank": COUNT, "score": NUMBER},
    key=("probe", "task", "condition", "query", "image_id"),
)

#: one row a pair of pictures of one family or subject: what was ``changed`` between them, how far
#: apart they are (``distance``), and what it did to the score of ``label`` (``delta``: other less
#: this one) and to the choice (``flipped``). Of a change, ``image_id`` is the base, ``other_id``
#: the changed picture, and ``step`` is signed.
PAIRS: Final = Schema(
    "pairs",
    {
        **_OUTCOME,
        "other_id": TEXT,
        "changed": TEXT,
        "label": TEXT,
        "delta": NUMBER,
        "flipped": FLAG,
        "step": NUMBER,
        "distance": NUMBER,
    },
    key=("probe", "task", "condition", "label", "changed", "image_id", "other_id"),
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
