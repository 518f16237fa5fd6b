"""What every table and column of a run holds, in one sentence each.

A Parquet file says it of its own columns, Croissant of all, and ``docs/tables.md`` is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def _bounded(name: str, what: str) -> dict[str, str]:
    return {f"{name}_low": f"lower bound of {what}", f"{name}_high": f"upper bound of {what}"}


#: what a row is about, by table
ROWS: Final[Mapping[str, str]] = {
    "rates": "one row a question and group: how often something happened",
    "disparities": "one row a comparison of groups: a difference, a ratio or the largest gap",
    "controls": "one row a control: shuffled group labels, or an injected gap of known size",
    "calibration": "one row a group: the model's scores against how often it is right",
    "reliability": "one row a group and bin of scores; empty bins are kept",
    "calibration_gaps": "one row an attribute: the two groups whose overconfidence differs most",
    "specifications": "one row a wording of a question: the gap in that wording",
    "sensitivity": "one row a question in many wordings: how much is the model, how much they",
    "stability": "one row a group: how steady the choice for a picture is over wordings",
    "effects": "one row an edit or condition and rate or largest gap: what it changes",
    "thresholds": "one row a threshold and rate or largest gap: labels kept at or above it",
    "measures": "one row a value that is no share of choices: a skew, effect size or error rate",
    "choices": "one row a picture and condition: the label chosen (private)",
    "scores": "one row a picture and label scored (private)",
    "ranks": "one row a picture kept in the ranking for a query (private)",
    "pairs": "one row a pair of pictures and label (private)",
}

#: what a column holds, wherever ``_HERE`` says nothing else; rates and gaps are shares, 0.12 is 12
#: points
_COLUMNS: Final[Mapping[str, str]] = {
    # which question
    "key": "names the row: its other names, parted by ' | '",
    "probe": "kind of the probe that asked",
    "task": "name of the task, as a rule that of its label set",
    "condition": "what was changed about the question; 'ensemble' is the headline",
    "metric": "what is counted",
    "label": "label it is counted of",
    "margin_family": "label category whose margin holds",
    "attribute": "attribute or intersection by which pictures are grouped",
    "group": "group of that attribute; in a comparison the first",
    "other": "group it is compared with",
    "comparison": "difference, ratio, largest gap, or another summary of the groups",
    "image_id": "picture",
    # how much was seen
    "n": "pictures asked, of the group",
    "n_other": "pictures asked, of the other group",
    "subjects": "subjects (clusters of pictures) among them",
    "subjects_other": "subjects among the pictures of the other group",
    "events": "pictures of which it holds",
    "events_other": "pictures of the other group of which it holds",
    "effective_n": "how many independent pictures the group is worth where subjects repeat",
    "unweighted": "bootstrap replicates in which the group has no weight at all",
    # the value
    "value": "the estimate",
    "low": "lower bound, for this row alone",
    "high": "upper bound, for this row alone",
    "low_simultaneous": "lower bound, for all rows of its family at once",
    "high_simultaneous": "upper bound, for all rows of its family at once",
    "level": "level of the bounds, a share",
    "level_each": "level of each row's simultaneous bounds, a share",
    "method": "how the bounds were made",
    "status": "'ok', or why there is no value: too_few, undefined, not_asked, withheld",
    "reason": "the status in words; blank where it is ok",
    "pooled": "rate of an intersection drawn towards what its attributes say without it",
    **_bounded("pooled", "the pooled value"),
    "pooled_value": "the same comparison of pooled rates",
    "pooled_low_simultaneous": "lower bound of the pooled value, for its family at once",
    "pooled_high_simultaneous": "upper bound of the pooled value, for its family at once",
    "pooled_verdict": "what the verdict would be on pooled rates; no finding or gate reads it",
    # the verdict
    "p": "p-value of no difference",
    "q": "p adjusted for the family",
    "smallest_p": "smallest p-value that so many permutations can give",
    "smallest_q": "smallest q that so many permutations can give",
    "screening": "false discovery rate over all differences of the run",
    "null_mean": "mean of the value when subjects are dealt to groups by chance",
    "null_low": "lower quantile of the value when subjects are dealt to groups by chance",
    "null_high": "upper quantile of the value when subjects are dealt to groups by chance",
    "family": "comparisons that the simultaneous bounds hold for at once",
    "family_size": "how many rows that family has",
    "detectable": "smallest gap that would be detected with 80 % power, a share",
    "margin": "largest gap that counts as small, fixed before the run",
    "low_equivalence": "lower bound of one pair, with an error of 1 - level on this side",
    "high_equivalence": "upper bound of one pair, with an error of 1 - level on this side; of a "
    "largest gap the largest of all pairs",
    "ratio": "rate of the group over that of the other",
    **_bounded("ratio", "the ratio"),
    "ratio_margin": "largest ratio that counts as small, where one binds",
    "basis": "scale that the verdict rests on: difference or ratio",
    "p_margin": "p-value of a gap no larger than the margin",
    "q_margin": "that, adjusted: Holm over primary claims, false discovery rate over the others",
    "role": "primary if the suite declared the question, else exploratory",
    "left_out": "groups too small to be compared",
    "verdict": "exceeds margin, within margin, inconclusive, or not judged",
    # controls
    "control": "shuffled or injected",
    "planted": "size of the gap that was put in; 0 of shuffled labels",
    "comparisons": "comparisons looked at each time",
    "shuffles": "times that group labels were shuffled",
    "allowed": "how many of either kind of miss chance explains",
    "exceeds_margin": "shuffles in which something exceeds the margin; injected: comparisons",
    "missed": "shuffles in which some simultaneous bounds leave out 0",
    "covered": "whether chance explains those missed; injected: whether all bounds hold the gap",
    # calibration
    "accuracy": "share of choices that are right",
    "mean_score": "mean score of the chosen label",
    "overconfidence": "mean score less accuracy",
    "ece": "expected calibration error",
    "ece_null": "its mean in a calibrated model with these scores, a subject's pictures dependent",
    "ece_null_high": "its upper quantile in such a model",
    "ece_null_independent": "its mean in such a model, were pictures independent",
    "ece_above": "ece less ece_null; may be negative",
    "bin_low": "scores of the bin lie above this",
    "bin_high": "scores of the bin go up to this",
    "share_correct": "share of the bin's choices that are right",
    "pairs": "pairs of groups bounded at once",
    # wordings
    "selection": "whether the question was declared in the suite, or chosen for its gap",
    "candidates": "questions among which it was chosen",
    "wording": "the wording as a whole: template, article, phrasing, alteration",
    "template": "prompt template",
    "article": "how the article before the label is set",
    "shift": "how far pictures and prompts were moved apart along the modality gap, in its length",
    "phrasing": "set of paraphrases of the labels",
    "reworded": "labels that the phrasing changes",
    "alteration": "what was done to the pictures",
    "wordings": "wordings asked",
    "headline": "gap of the headline condition",
    "mean": "mean gap over wordings",
    "spread": "standard deviation of the gap over wordings, net of sampling noise",
    **_bounded("spread", "the spread"),
    "model_share": "mean squared, of mean squared and spread squared: the model's part",
    **_bounded("model_share", "that share"),
    "agree_sign": "share of wordings with the sign that most have",
    "agree_sign_null": "the same by chance alone",
    "agree_verdict": "share of wordings with the verdict that most have",
    "common_verdict": "verdict that most wordings have",
    "p_median": "joint p-value of the median gap",
    "p_sign": "joint p-value of so many wordings of one sign",
    "p_large": "joint p-value of so many wordings above the margin",
    "deals": "times that subjects were dealt to groups by chance",
    "share_picture": "share of the variance of single choices that is between pictures",
    "share_group": "share of that variance that is between groups",
    "share_template": "share of that variance that is between wordings",
    "share_group_template": "share of that variance that is a wording's own way with a group",
    "share_rest": "share of that variance that is left",
    "generalisability": "how well the order of groups holds over wordings like these, 0 to 1",
    **_bounded("generalisability", "the generalisability"),
    "needed": "wordings needed for a generalisability of 0.9",
    "kendall_w": "whether wordings rank the groups alike (1) or at random (near 0)",
    "flips": "mean share of wordings that choose another label than the headline, 0 to 1",
    **_bounded("flips", "flips"),
    "entropy": "entropy of the choices for a picture over wordings, 0 to 1",
    **_bounded("entropy", "the entropy"),
    # effects
    "edit": "drop, add or swap of a label, or another condition",
    "dropped": "label taken out",
    "added": "label put in",
    "group_after": "first group of the largest gap after the edit",
    "other_after": "second group of the largest gap after the edit",
    "gained": "pictures of which it holds after the edit only",
    "lost": "pictures of which it holds before the edit only",
    "before": "rate or largest gap without the edit",
    "after": "rate or largest gap with the edit",
    "carries": "share of the group's choices of the category that the dropped label has",
    **_bounded("carries", "that share"),
    # thresholds and measures
    "threshold": "a label is kept if its score is at least this",
    "chi_squared": "how surely groups differ, whatever the size of the difference",
    "unit": "unit of value and bounds",
    "excess": "value less null_mean",
    "harm": "kind of harm that the row can be",
    "statement": "the row as a sentence; blank where it is no finding",
    # rows about pictures
    "predicted": "label chosen",
    "score": "probability of the chosen label, at the model's own logit scale",
    "tie": "whether the choice may change with the size of the batch",
    "truth": "label that would have been right; missing where it is not known",
    "query": "what was searched for",
    "rank": "place in the ranking, from 1",
    "other_id": "the other picture of the pair",
    "changed": "what differs between the two",
    "delta": "score of the other picture less that of this one",
    "flipped": "whether the choice differs",
    "step": "size of the change, signed",
    "distance": "how far apart the two pictures are",
}

#: what a column holds in one table alone
_HERE: Final[Mapping[tuple[str, str], str]] = {
    ("disparities", "value"): "group minus other, group over other, or the largest difference "
    "between any two groups",
    ("disparities", "null_high"): "95 % quantile of a largest gap, subjects dealt by chance",
    ("calibration", "level"): "level of the bounds and of the quantile, a share",
    ("calibration", "low"): "lower bound of overconfidence",
    ("calibration", "high"): "upper bound of overconfidence",
    ("reliability", "low"): "lower bound of the share correct",
    ("reliability", "high"): "upper bound of the share correct",
    ("calibration_gaps", "value"): "overconfidence of the group less that of the other",
    ("specifications", "value"): "gap in this wording, group less other",
    ("specifications", "left_out"): "pictures that some alteration lost, asked in no wording",
    ("specifications", "low_simultaneous"): "lower bound, for all wordings of all candidates",
    ("specifications", "high_simultaneous"): "upper bound, for all wordings of all candidates",
    ("sensitivity", "low"): "lower bound of the mean",
    ("sensitivity", "high"): "upper bound of the mean",
    ("effects", "value"): "after less before",
    ("measures", "value"): "the estimate, in the unit named",
    ("choices", "margin"): "cosine similarity by which the label beat the second",
    ("scores", "value"): "score of the label",
    ("scores", "label"): "label that was scored",
    ("ranks", "score"): "similarity to the query",
    ("pairs", "label"): "label whose score changes",
}


def meaning(table: str, column: str) -> str:
    """What a column of a table holds; blank for one that is none of a run's.

    >>> meaning("effects", "value")
    'after less before'
    """
    return _HERE.get((table, column), _COLUMNS.get(column, ""))
