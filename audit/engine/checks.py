"""Whether a suite asks something sensible: refused before a model is loaded, with a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import yaml

from audit.core.errors import InputError, sentence
from audit.core.registry import unknown
from audit.core.rows import Fields, having
from audit.core.tables import records
from audit.engine.policy import EVERY, Gate
from audit.measure.claims import ERRORS
from audit.probes.kit.base import Probe

if TYPE_CHECKING:
    from audit.engine.suite import Suite


def require_subjects(suite: Suite) -> None:
    """Uncertainty comes from differences between subjects, so one subject gives none.

    Raises:
        InputError: all pictures are of one.
    """
    subjects = suite.pictures.table["cluster_id"]
    if subjects.nunique() == 1:
        raise InputError(
            f"suite '{suite.name}': all {len(subjects)} pictures of the data set "
            f"'{suite.pictures.name}' are of one subject, '{subjects.iloc[0]}', so no "
            "uncertainty can be given",
            "Add subjects, or mend 'cluster_column' in the data card",
        )


def require_sense(suite: Suite) -> None:
    """Refuse what may not be asked, or could never show anything; names are resolved already.

    Raises:
        InputError: the first of these.
    """
    _require_care(suite)
    _require_favourable(suite)
    _require_primary(suite)
    _require_gated(suite)
    _require_attainable(suite)


def _require_favourable(suite: Suite) -> None:
    """A favourable selection is a label of a task that is asked."""
    texts = {p.task: [t for s in p.label_sets() for t in s.texts] for p in suite.asked}
    for task, labels in suite.favourable.items():
        where = f"suite '{suite.name}': favourable"
        if task not in texts:
            raise unknown("task of this suite is", task, texts, where=where)
        for label in labels:
            if label not in texts[task]:
                raise unknown("label is", label, texts[task], where=f"{where}.{task}")


def _require_primary(suite: Suite) -> None:
    """A primary question on a misspelt name would never be answered."""
    for i, claim in enumerate(suite.primary):
        where = f"suite '{suite.name}': primary[{i}]"
        named = next((a for a in suite.groups if claim.concerns(a)), None)
        if named is None:
            what = "attribute or intersection of this suite is"
            raise unknown(what, claim.attribute, suite.groups, where=f"{where}.attribute")
        asked = suite.questions
        if claim.task and claim.task not in set(asked["task"]):
            what = "task that counts choices is"
            raise unknown(what, claim.task, set(asked["task"]), where=f"{where}.task")
        if not any(claim.asks(row) for row in records(asked)):
            counted = having(asked, metric=claim.metric)
            if claim.task:
                counted = having(counted, task=claim.task)
            names = set(counted["label"]) if claim.metric != ERRORS else {ERRORS}
            where += f": task '{claim.task}'" if claim.task else ""
            what = "label asked there is" if claim.label else "category asked there is"
            raise unknown(what, claim.label or claim.category, names, where=where)
        groups = [str(g) for g in suite.groups[named].dropna().unique()]
        for group in claim.groups or ():
            if group not in groups:
                raise unknown(f"group of '{named}' is", group, groups, where=f"{where}.groups")


def _require_gated(suite: Suite) -> None:
    """A gate on a misspelt name would never be hit."""
    measured = {family for probe in suite.asked for family in probe.gated.values()}
    families = sorted({*suite.questions["family"], *measured})
    for i, gate in enumerate(suite.gates):
        where = f"suite '{suite.name}': gates[{i}]"
        if not any(gate.concerns(attribute) for attribute in suite.groups):
            what = "attribute or intersection of this suite is"
            raise unknown(what, gate.attribute, suite.groups, where=f"{where}.attribute")
        if gate.family not in (EVERY, *families):
            what = "label family asked in this suite is"
            raise unknown(what, gate.family, families, where=f"{where}.family")
        if suite.primary and not ({gate.family} & measured or _claimed(suite, gate)):
            raise InputError(
                f"{where}: '{gate}' covers no primary question, and what is exploratory "
                "opens no gate",
                "Add the question under 'primary:', or leave the gate out",
            )


def _claimed(suite: Suite, gate: Gate) -> bool:
    """Whether a gate covers some primary question."""
    asked = records(suite.questions)
    return any(
        gate.covers(claim.attribute, row["family"])
        for claim in suite.primary
        for row in asked
        if claim.asks(row)
    )


def _require_attainable(suite: Suite) -> None:
    """No family whose smallest attainable adjusted p leaves nothing to be shown."""
    alpha = 1 - suite.confidence.level
    for row in records(suite.power()):
        if row["smallest_p"] > alpha * (1 + 1e-9):  # nan, nothing compared, is no refusal
            raise InputError(_unattainable(suite, row, alpha))


def _unattainable(suite: Suite, row: Fields, alpha: float) -> str:
    level = f"the {alpha:.2g} that 'confidence.level: {suite.confidence.level:g}' leaves"
    if suite.repeats:
        return sentence(
            f"suite '{suite.name}': by '{row['attribute']}' nothing could ever be shown: where "
            f"subjects repeat, p-values come from {suite.confidence.resamples} resamples and "
            f"are at least {row['smallest_p']:.2g}, above {level}",
            f"Raise 'confidence.resamples' to {math.ceil(1 / alpha - 1 - 1e-9)} or more, or "
            "lower 'confidence.level'",
        )
    return sentence(
        f"suite '{suite.name}': by '{row['attribute']}' the {row['comparisons']} comparisons of "
        f"a question could never show anything: with at most {row['largest']} pictures a group "
        f"their smallest attainable p, after Holm's correction, is {row['smallest_p']:.2g}, "
        f"above {level}",
        "Use larger or fewer groups, a lower level, or leave the attribute out",
    )


def _require_care(suite: Suite) -> None:
    """Suspicion labels only where they are meant, with a basis, and never on named people."""
    for probe in suite.asked:
        for name in probe.sensitive():
            if {name, _own_name(probe, name)}.isdisjoint(suite.acknowledge):
                raise InputError(
                    f"suite '{suite.name}': '{name}' casts suspicion, identifies people or "
                    f"asks what the law protects{probe.accused(name)}",
                    f"If you mean to ask it, write '{_acknowledging_all(suite)}' in the suite",
                )
            refusal = suite.pictures.refuse_suspicion()
            if refusal:
                raise InputError(f"'{name}' is refused: {refusal}")


def _acknowledging_all(suite: Suite) -> str:
    """The line that acknowledges all that is asked, beside what is acknowledged already."""
    asked = [_own_name(probe, name) for probe in suite.asked for name in probe.sensitive()]
    names = list(dict.fromkeys([*suite.acknowledge, *asked]))
    line: str = yaml.safe_dump(
        {"acknowledge": names}, default_flow_style=None, allow_unicode=True, width=math.inf
    )
    return line.strip()


def _own_name(probe: Probe, name: str) -> str:
    """The name of a probe's label set without its additions; any other name as it is."""
    return next((s.own_name for s in probe.label_sets() if s.name == name), name)
