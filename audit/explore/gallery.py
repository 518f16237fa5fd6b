"""The pictures of a finished run: what was labelled so, in other words, with one thing changed.

A picture is named by its id and by nothing else, and only those that the run asked about are
opened. Nothing is encoded and no model is loaded: choices are the run's own, further scores come
from the embedding store. Of real people nothing is listed that accuses them or that the law
protects.

>>> import audit
>>> gallery = audit.gallery.open_gallery(audit.runs_in()[-1], audit.Store())
>>> len(gallery.tasks) > 0
True
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from audit.core.errors import InputError, sentence
from audit.core.files import digest_of
from audit.core.registry import suggest, unknown
from audit.core.rows import Row, having
from audit.core.rundir import PRIVATE, Run
from audit.core.tables import ENSEMBLE, EVERYONE
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.dataset import Dataset
from audit.data.images import Unreadable, decode
from audit.data.labels import LabelSet
from audit.engine.consent import require_same_pictures
from audit.engine.suite import Suite, load_suite
from audit.explore.asked import SUITE_FILE, can_be_asked, saved_question
from audit.explore.families import COLUMNS, Families, differences
from audit.explore.hidden import NOT_TOLD, blurred, not_for_real_people
from audit.explore.saved_model import stored_model
from audit.measure.metrics import named
from audit.measure.prompts import Wording, class_embeddings, ensemble, every_wording
from audit.models.encoder import Encoder, Texts
from audit.probes.classification.probe import Classification
from audit.probes.counterfactual.probe import Counterfactual
from audit.store.embeddings import Store

#: what a list can be sorted by: the probability of the label, or its lead over the next one
ORDERS: Final = ("score", "margin")
#: how ``condition`` begins for one template of several
TEMPLATE: Final = "template: "
_ASKED_IN: Final = ("wording", "label", "score", "margin")

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Gallery:
    """The pictures that a run asked about, its choices for them, and the store of embeddings.

    ``groups`` has a row a picture, its index being the id, and a column an attribute.
    """

    run: Run
    suite: Suite
    groups: pd.DataFrame
    store: Store
    _kept: Row = field(default_factory=dict)

    # ---- what there is -------------------------------------------------------------------------

    @property
    def dataset(self) -> Dataset:
        """The data set, which is still that of the run."""
        return self.suite.pictures

    @property
    def photographs(self) -> bool:
        """Whether real people are shown, as far as the card says."""
        return self.dataset.card.photographs

    @cached_property
    def names(self) -> dict[str, str]:
        """What each picture is called on a page: its id, or its row where the id is a file name."""
        rows = {image_id: i for i, image_id in enumerate(self.dataset.table["image_id"], 1)}
        own = self.dataset.card.id_column is not None
        return {i: i if own else f"picture {rows[i]}" for i in self.groups.index}

    @property
    def tasks(self) -> list[str]:
        """The questions that chose a label for each picture."""
        return [
            q["task"]
            for q in self.run.questions
            if q.get("emits", "choices") == "choices" and q["label_sets"] and q["prompt_sets"]
        ]

    @property
    def attributes(self) -> list[str]:
        """Attributes and intersections."""
        return [str(name) for name in self.groups if name != "cluster_id"]

    def source(self, attribute: str) -> str:
        """Whose word the groups of an attribute or intersection are, as the card says."""
        parts = [p for p in attribute.split(" x ") if p in self.dataset.attributes]
        return " and ".join(dict.fromkeys(self.dataset.attributes[p].source for p in parts))

    def labels(self, task: str) -> LabelSet:
        """The labels of a task, as they were asked.

        Raises:
            InputError: no such task, or its labels are of another version.
        """
        if task not in (known := [q["task"] for q in self.run.questions]):
            raise unknown("task", task, known, where=self.run.name)
        return self._once(f"labels {task}", lambda: saved_question(self.run, task).labels)

    def pictures(self, task: str) -> list[str]:
        """Ids of the pictures of which a task was asked, in the manifest's order."""
        table = self._choices(task)
        asked = set(having(table, condition=ENSEMBLE)["image_id"])
        return [image_id for image_id in self.groups.index if image_id in asked]

    def find(self, text: str) -> str:
        """The id of the picture of this id or name.

        Raises:
            InputError: the run asked about no such picture.
        """
        text = text.strip()
        if text in self.groups.index:
            return text
        by_name = {name: image_id for image_id, name in self.names.items()}
        if text in by_name:
            return by_name[text]
        raise _not_asked(text, suggest(text, by_name))

    def _once(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    # ---- care ----------------------------------------------------------------------------------

    def refusal(self, task: str, label: str | None = None) -> str | None:
        """Why real people are not listed by a task's labels, or by one of them; None if they may.

        They are not by sets that declare care (suspicion, identity, what the law protects),
        nor by ``not_listed`` labels of any other set. Their rates by group are no secret.
        """
        if not self.photographs:
            return None
        labels = self.labels(task)
        instead = "Only their rates by group are told"
        named = {labels.name, labels.own_name}
        if labels.declares_care or not named.isdisjoint(self.suite.acknowledge):
            told = "cast suspicion, identify people or ask what the law protects"
            return sentence(
                f"The labels '{labels.name}' {told}, and no real person is shown by them", instead
            )
        if label is not None and label in self.not_listed(task):
            return sentence(
                f"'{label}' accuses, demeans or sorts people by what the law protects, "
                "and no real person is shown by it",
                instead,
            )
        return None

    def not_listed(self, task: str) -> frozenset[str]:
        """Labels of a task by which real people are not listed; none where nobody is real."""
        if not self.photographs:
            return frozenset()
        labels = self.labels(task)
        return self._once(f"not listed {task}", lambda: not_for_real_people(labels))

    # ---- what was labelled so ------------------------------------------------------------------

    def labelled(
        self, task: str, label: str, attribute: str, by: str = "score", highest: bool = True
    ) -> pd.DataFrame:
        """The pictures for which a label was chosen, in the headline's wording.

        Args:
            task: one of ``tasks``.
            label: a text of its labels.
            attribute: one of ``attributes``, or 'everyone'.
            by: one of ``ORDERS``.
            highest: largest first.

        Returns:
            image_id, group, score (probability), margin (cosine, over the next label) and tie.

        Raises:
            InputError: no such task, label, attribute or order; a label that is refused.
        """
        if label not in (texts := self.labels(task).texts):
            raise unknown("label", label, texts, where=task)
        if by not in ORDERS:
            raise unknown("order", by, ORDERS)
        if refused := self.refusal(task, label):
            raise InputError(refused)
        table = self._choices(task)
        table = having(table, condition=ENSEMBLE, predicted=label)
        table = table.assign(group=self._group(attribute).reindex(table["image_id"]).to_numpy())
        table = table.sort_values([by, "image_id"], ascending=[not highest, True])
        return table[["image_id", "group", "score", "margin", "tie"]].reset_index(drop=True)

    def counted(self, task: str, label: str, attribute: str) -> pd.DataFrame:
        """The run's own rates of a label by group: how many of how many pictures."""
        table = self.run.rates
        wanted = {"task": task, "label": label, "attribute": attribute}
        for name, value in {**wanted, "condition": ENSEMBLE, "metric": "selection"}.items():
            table = table[table[name] == value]
        return table

    def _group(self, attribute: str) -> pd.Series[str]:
        if attribute == EVERYONE:
            return pd.Series(EVERYONE, index=self.groups.index)
        if attribute not in self.attributes:
            raise unknown("attribute", attribute, self.attributes, where=self.run.name)
        return named(self.groups[attribute])

    def _choices(self, task: str) -> pd.DataFrame:
        if task not in self.tasks:
            raise unknown("task", task, self.tasks, where=self.run.name)
        return self._once(f"choices {task}", lambda: self._read_choices(task))

    def _read_choices(self, task: str) -> pd.DataFrame:
        _require_sealed(self.run, self.run.outcomes_file(task))
        table = self.run.outcomes(task)
        return having(table, image_id=self.groups.index)

    # ---- the same picture in other words -------------------------------------------------------

    def wordings(self, task: str, image_id: str) -> pd.DataFrame:
        """What one picture was labelled in every condition of a task, the headline first.

        Returns:
            wording, label, score and margin. A label that is not told of real people reads
            ``NOT_TOLD`` and has no numbers.

        Raises:
            InputError: a picture or task that the run has not; a task that is refused.
        """
        self._require_asked(image_id)
        if refused := self.refusal(task):
            raise InputError(refused)
        table = self._choices(task)
        table = having(table, image_id=image_id)
        table = table.sort_values("condition", key=lambda c: c != ENSEMBLE, kind="stable")
        told = table["condition"].str.removeprefix(TEMPLATE).replace(ENSEMBLE, _together(table))
        rows = table.assign(wording=told).rename(columns={"predicted": "label"})
        return self._told(task, rows[list(_ASKED_IN)])

    def more_wordings(self, task: str, image_id: str) -> pd.DataFrame:
        """The same of the further wordings that the run asked, from stored embeddings.

        Shifts along the modality gap are left out: they are about all pictures at once.

        Raises:
            InputError: as ``wordings``; the store lacks the picture or a prompt.
        """
        known = set(self.wordings(task, image_id)["wording"])
        probe = next((p for p in self.suite.asked if p.task == task), None)
        asked = probe.asked_in if isinstance(probe, Classification) else ()
        headline = every_wording([saved_question(self.run, task).prompts])
        new = [w for w in asked if w not in headline and not w.shift and w.name not in known]
        rows = [self._asked_in(wording, task, image_id) for wording in new]
        return self._told(task, pd.DataFrame(rows, columns=list(_ASKED_IN)))

    def _asked_in(
        self, wording: Wording, task: str, image_id: str
    ) -> tuple[str, str, float, float]:
        labels = self.labels(task)
        (classes,) = class_embeddings(self._texts, labels, [wording])
        similarity = self._vectors([image_id], wording.alteration)[0] @ classes.T
        second, first = np.sort(similarity)[-2:]
        share = self._texts.scoring.of_chosen(similarity[None], first[None])[0]
        return wording.name, labels.texts[int(similarity.argmax())], share, first - second

    def _told(self, task: str, rows: pd.DataFrame) -> pd.DataFrame:
        hidden = rows["label"].isin(self.not_listed(task))
        rows = rows.assign(label=rows["label"].mask(hidden, NOT_TOLD))
        numbers = {name: rows[name].mask(hidden) for name in ORDERS}
        return rows.assign(**numbers).reset_index(drop=True)

    # ---- one thing changed ---------------------------------------------------------------------

    @cached_property
    def families(self) -> Families | None:
        """Where families of changed pictures are told, by the run's probe or as is usual."""
        probes = [p for p in self.suite.asked if isinstance(p, Counterfactual)]
        usual = {name: Counterfactual.model_fields[name].default for name in COLUMNS}
        where = {name: getattr(probes[0], name) for name in COLUMNS} if probes else usual
        tasks = [p.task for p in probes] or can_be_asked(self.run)
        tasks = [task for task in tasks if self.refusal(task) is None]
        demographic = probes[0].demographic if probes else ()
        found = Families(**where, tasks=tuple(tasks), demographic=demographic)
        there = {found.family, found.changed} <= set(self.dataset.table.columns)
        return found if there and self._related(found) else None

    @cached_property
    def family_names(self) -> list[str]:
        """The families that have a picture in which nothing was changed, and another one."""
        return self._related(self.families) if self.families else []

    def _related(self, where: Families) -> list[str]:
        table = self._asked_about[self._asked_about[where.family].notna()]
        bases = set(table.loc[table[where.changed] == where.base, where.family])
        others = set(table.loc[table[where.changed] != where.base, where.family])
        return sorted(map(str, bases & others))

    @cached_property
    def _asked_about(self) -> pd.DataFrame:
        return self.dataset.table.set_index("image_id", drop=False).loc[list(self.groups.index)]

    def family(self, name: str, task: str, label: str) -> pd.DataFrame:
        """The pictures of a family with the score of a label, the unchanged one first.

        Returns:
            image_id, changed, ``to`` (what differs from the unchanged picture, in words),
            predicted, score (cosine) and change (less the unchanged picture's).

        Raises:
            InputError: no such family, task or label; a label that is refused; the store lacks
                a picture or prompt.
        """
        where = self._scored(name, task, label)
        table = self._asked_about
        table = table[table[where.family].astype(str) == name]
        table = table.sort_values(where.changed, key=lambda c: c != where.base, kind="stable")
        scores = self.scores(task, list(table["image_id"]))
        # attributes of the first, unchanged picture, with which each other is compared
        values = table[list(self.dataset.attributes)]
        changes = [differences(values.iloc[0], row) for _, row in values.iterrows()]
        rows = pd.DataFrame(
            {
                "image_id": table["image_id"].to_numpy(),
                "changed": table[where.changed].astype(str).to_numpy(),
                "to": changes,
                "predicted": scores.columns[scores.to_numpy().argmax(axis=1)],
                "score": scores[label].to_numpy(),
                "change": (scores[label] - scores[label].iloc[0]).to_numpy(),
            }
        )
        hidden = rows["predicted"].isin(self.not_listed(task))
        return rows.assign(predicted=rows["predicted"].mask(hidden, NOT_TOLD))

    def _scored(self, name: str, task: str, label: str) -> Families:
        where = self.families
        if where is None or name not in self.family_names:
            raise unknown("family", name, self.family_names, where=self.run.name)
        if task not in where.tasks:
            raise unknown("task", task, where.tasks, where=self.run.name)
        if label not in (texts := self.labels(task).texts):
            raise unknown("label", label, texts, where=task)
        if refused := self.refusal(task, label):
            raise InputError(refused)
        return where

    def scores(self, task: str, image_ids: Sequence[str]) -> pd.DataFrame:
        """Cosine of pictures (rows) with labels (columns), the templates of a task averaged.

        Raises:
            InputError: the run didn't ask about a picture, or the store lacks it or a prompt.
        """
        saved = saved_question(self.run, task)
        classes = self._once(
            f"classes {task}",
            lambda: ensemble(
                class_embeddings(self._texts, saved.labels, every_wording([saved.prompts]))
            ),
        )
        found = self._vectors(image_ids) @ classes.T
        return pd.DataFrame(found, index=list(image_ids), columns=list(saved.labels.texts))

    # ---- stored embeddings ---------------------------------------------------------------------

    @cached_property
    def _model(self) -> Encoder:
        return stored_model(self.run, self.suite)

    @cached_property
    def _texts(self) -> Texts:
        return self.store.text_side(self._model)

    def _vectors(self, image_ids: Sequence[str], altered: str = AS_IT_IS) -> NDArray[np.float64]:
        items = [(i, Path(self._path(i))) for i in image_ids]
        change = None if altered == AS_IT_IS else alteration(altered)
        found, lost = self.store.images(
            self._model, items, root=self.dataset.root, alteration=change
        )
        if lost:
            raise _gone(self.names[lost[0].image_id], lost[0].reason)
        return found.vectors.astype(np.float64)

    # ---- files ---------------------------------------------------------------------------------

    def thumbnail(self, image_id: str, clear: bool = False, size: int = 160) -> bytes:
        """A picture as JPEG, at most ``size`` pixels wide and high.

        Unless ``clear`` it is brought to ``BLURRED`` pixels first, so that no more than these is
        ever handed out.

        Raises:
            InputError: the run didn't ask about it, or its file is gone or damaged.
        """
        try:
            image = decode(Path(self._path(image_id)), root=self.dataset.root)
        except Unreadable as error:
            raise _gone(self.names[image_id], error.reason) from error
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        shown = image if clear else blurred(image)
        buffer = io.BytesIO()
        shown.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def _path(self, image_id: str) -> str:
        self._require_asked(image_id)
        return str(self._asked_about.at[image_id, "path"])

    def _require_asked(self, image_id: str) -> None:
        if image_id not in self.groups.index:
            raise _not_asked(image_id)


# ---- opening -----------------------------------------------------------------------------------


def open_gallery(run: Run, store: Store) -> Gallery:
    """The pictures of a finished run.

    Args:
        run: the finished run, with its rows about single pictures.
        store: the embedding store that the run filled; needed for further scores only.

    Raises:
        InputError: no private part, or a run of an earlier version; rows that were changed; a data
            set that is gone, has changed since, lost somebody's consent or may not be shown.
    """
    groups = run.groups().set_index("image_id")
    _require_sealed(run, f"{PRIVATE}/groups.parquet")
    suite = load_suite(str(run.path / SUITE_FILE))
    dataset = suite.pictures
    require_same_pictures(run, dataset)
    if refused := dataset.refuse_showing():
        raise InputError(refused)
    return Gallery(run, suite, groups[groups.index.isin(dataset.table["image_id"])], store)


def _require_sealed(run: Run, name: str) -> None:
    """A file about single pictures must be as the run sealed it."""
    file, sealed = run.path / name, run.manifest.get("files", {}).get(name)
    if file.is_file() and digest_of(file) != sealed:
        told = f"{run.name}: {name} was changed since the run was sealed"
        raise InputError(told, "Restore it from a copy, or run the suite again")


# ---- small parts -------------------------------------------------------------------------------


def _together(table: pd.DataFrame) -> str:
    """What the headline is called beside the other conditions."""
    templates = int(table["condition"].str.startswith(TEMPLATE).sum())
    return f"all {templates} templates together" if templates else "as asked"


def _not_asked(text: str, near: str | None = None) -> InputError:
    told = f"'{text}' is no picture that this run asked about"
    return InputError(told, near, "Only those are shown")


def _gone(name: str, reason: str) -> InputError:
    """A picture that can't be shown; where its file lies is not told."""
    told = f"{name}: its file is {reason}, so it can't be shown"
    return InputError(told, "Put it back where the data set's manifest has it")


__all__ = [
    "NOT_TOLD",
    "ORDERS",
    "Gallery",
    "open_gallery",
]
