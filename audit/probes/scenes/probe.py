"""Captions of a camera's scene: which of several, some nearly right, does the model choose?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audit.core.arrays import Flags, Integers
from audit.core.errors import InputError
from audit.core.rows import Row, having
from audit.core.tables import (
    CHOICES,
    ENSEMBLE,
    EVERYONE,
    MEASURES,
    NOT_ASKED,
    NOT_JUDGED,
    OK,
    RATE,
    WORST,
    records,
)
from audit.data.dataset import Dataset
from audit.data.guard import accusation
from audit.data.labels import (
    Label,
    LabelSet,
    PromptSet,
    load_prompt_set,
)
from audit.data.remarks import Remark, counted, says_nothing, tally
from audit.measure.abstention import (
    THRESHOLDS,
    Asked,
    Question,
    abstention,
    checked,
    gap_sentence,
    measures_of,
    rates_by_name,
)
from audit.measure.effects import condition_effects
from audit.measure.measures import measured
from audit.measure.prompts import ensemble, every_wording
from audit.probes.kit.base import Design, Probe, Seen, Texts
from audit.probes.kit.choice import TIE
from audit.probes.kit.footage import FOOTAGE_KEYS, InPoorFootage
from audit.probes.scenes.captions import (
    CLOSE,
    MORE,
    OTHER,
    RIGHT,
    ROLES,
    Columns,
    Detail,
    Offered,
    Template,
    uniform,
)
from audit.probes.scenes.names import (
    FEWEST,
    GUESSING,
    INSTEAD,
    INVENTED,
    LEFT_OUT,
    MISSED,
    MOST,
    OPTIONS,
    TIES,
    WITHOUT,
)
from audit.probes.scenes.rows import cost_row, footage_row, gap_cost_row, told_apart_rows
from audit.stats.scoring import Scoring

_ALIKE: Final = 1e-12
#: numbers gathered at a time: bounds memory to some 30 MB
_AT_ONCE: Final = 4_000_000


class Scenes(InPoorFootage, Probe):
    """Choice among captions that differ from picture to picture.

    Exactly one of three ways to say them: ``columns`` of the manifest, a ``template`` over its
    columns, or a ``detail`` that is there or not. Labels are what captions are to the picture: the
    right one, a close wrong one (one detail differs), another; so groups compare although everybody
    is offered other words. Where there are close captions the headline offers them, which is the
    stress test of the CLIP paper (Radford et al. 2021, arXiv 2103.00020, section 7.2), and
    ``without close captions`` is its coarse classification of the same pictures. Close captions
    also make the choice longer; ``as many other captions instead``, made by a template and named by
    ``columns``, tells the one from the other. With several ``close`` columns of a template each is
    a condition of its own. Captions that the model can't tell apart are drawn among, so that no
    order of theirs favours the right one. In poor footage the headline's captions are offered.
    """

    asks: ClassVar[str] = (
        "Which of several captions, one of them right and some nearly right, does the model choose "
        "for each picture?"
    )
    emits: ClassVar = CHOICES
    later: ClassVar = Probe.later | FOOTAGE_KEYS

    kind: Literal["scenes"] = "scenes"
    name: str = Field("scenes", min_length=1, description="of the task; unique in a suite")
    columns: Columns | None = Field(None, description="captions by hand, in the manifest")
    template: Template | None = Field(None, description="captions made from the manifest")
    detail: Detail | None = Field(None, description="two captions: a detail is there, or not")
    templates: str = Field("bare", description="what a caption is put into; a template set")
    thresholds: tuple[float, ...] = Field(
        THRESHOLDS, min_length=1, description="answers below these probabilities are withheld"
    )
    suspicion: bool = Field(
        False, description="captions cast suspicion: the suite must acknowledge the task's name"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [n for n in ("columns", "template", "detail") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"got {' and '.join(given) or 'none'} of 'columns', 'template' and 'detail'; "
                "give exactly one"
            )
        return self

    @property
    def written(self) -> Columns | Template | Detail:
        """How the captions are given."""
        given = self.columns or self.template or self.detail
        assert given is not None
        return given

    @property
    def truth(self) -> str:
        """What says the right answer: a column, or the template."""
        return self.written.truth

    @property
    def stressed(self) -> bool:
        """Whether close captions are offered."""
        return bool(self.written.close)

    @cached_property
    def labels(self) -> LabelSet:
        """What captions are to a picture."""
        roles = (RIGHT, CLOSE, OTHER) if self.stressed else (RIGHT, OTHER)
        if self.detail:
            roles = (self.detail.there, self.detail.not_there)
        return LabelSet(
            name=self.task,
            version=1,
            purpose="What a caption is to the picture that it is offered for.",
            source="this project: the captions are those of the manifest and of the suite",
            licence="that of the manifest",
            acknowledge=self.suspicion,
            labels=tuple(Label(text=role, key=role) for role in roles),
        )

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The roles of captions."""
        return (self.labels,)

    @cached_property
    def prompts(self) -> PromptSet:
        """What captions are put into.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_prompt_set(self.templates)

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The one template set."""
        return (self.prompts,)

    def contrasts(self) -> tuple[str, ...]:
        """What other captions do, and poor footage."""
        return (*self._other_captions, *self.footage)

    @property
    def _other_captions(self) -> tuple[str, ...]:
        """What leaving out the close captions does, and putting others in their place."""
        if not self.stressed:
            return ()
        written = self.template or self.columns
        return (WITHOUT, INSTEAD) if written and written.instead else (WITHOUT,)

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The columns that a template fills in, or the one that says whether a detail is there."""
        if self.detail:
            absent = self.detail.absent
            return {self.detail.truth: (*self.detail.values, *absent) if absent else ()}
        return dict.fromkeys(self.template.columns if self.template else (), ())

    def remarks(self, dataset: Dataset) -> Iterator[Remark]:
        """Also what counts as a detail that is not there, though nobody says so."""
        yield from super().remarks(dataset)
        if self.detail is None or self.detail.absent:
            return
        values = dataset.texts(self.detail.truth).loc[list(self.pictures(dataset))]
        others = tally(values[~values.isin(self.detail.values)])
        if len(others) > 1 or any(map(says_nothing, others)):
            told = f"'{self.task}': in '{self.detail.truth}' {counted(others)} count as not there"
            yield Remark(f"{told}; list under 'absent' the values that mean it", task=self.task)

    def resolve(self, dataset: Dataset) -> None:
        """Put together the captions of every picture.

        Raises:
            InputError: a column isn't there, captions of a picture are the same, there is nothing
                to ask, a threshold isn't between 0 and 1, or captions cast suspicion and the probe
                doesn't say so.
        """
        _ = self.prompts, checked(self.thresholds)
        keys = self.pictures(dataset)
        offered = self._offered(dataset, keys, 0)
        if not offered.asked.any():
            got = f"scenes '{self.task}': no picture of '{dataset.name}' has {self.written.needs}"
            raise InputError(got, "Fill in the manifest, or name other columns")
        if found := offered.twice():
            row, caption, one, other = found
            raise InputError(
                f"scenes '{self.task}': the picture '{keys[row]}' is offered the caption "
                f"'{caption}' twice, as {one} and as {other}",
                "Captions of one picture must differ, case and spaces apart",
            )
        if not self.suspicion:
            self._refuse_suspicion(offered.captions)

    def _refuse_suspicion(self, captions: Iterable[str]) -> None:
        """Captions are free text: what accuses in a label set needs the same care in them."""
        for caption in captions:
            if found := accusation(caption):
                raise InputError(
                    f"scenes '{self.task}': the caption '{caption}' casts suspicion or asks "
                    f"what the law protects: '{found.words}' is {found.where}",
                    "If you mean to ask it, say 'suspicion: true' in the probe and add its "
                    "name under 'acknowledge:' in the suite",
                )

    def _offered(self, dataset: Dataset, keys: Sequence[str], seed: int) -> Offered:
        return self.written.offered(dataset, keys, seed, f"scenes '{self.task}'")

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each picture asked and condition.

        Only columns that captions are made of are read.

        Returns:
            rows of the table ``CHOICES``, condition by condition.
        """
        offered = self._offered(seen.dataset, seen.images.keys, seen.seed)
        kept = np.flatnonzero(offered.asked)
        offered = offered.only(kept)
        keys = np.array(seen.images.keys, dtype=object)[kept]
        captions = self._embedded(seen.texts, offered.captions)

        def similarity(footage: str) -> NDArray[np.float64]:
            images = seen.images
            if footage:
                images = seen.altered[self.footage[footage].name].only(seen.images.keys)
            return _similarities(images.vectors[kept], captions, offered.at)

        found = {footage: similarity(footage) for footage in ("", *self.footage)}
        order = uniform(keys, f"{seen.seed}, order", offered.at.shape[1])
        names = np.array([*offered.roles], dtype=object)
        tables = [
            _choose(
                np.where(places, found[condition if condition in self.footage else ""], -np.inf),
                order,
                seen.texts.scoring,
            ).assign(condition=condition)
            for condition, places in self._conditions(offered)
        ]
        every = pd.concat(tables, ignore_index=True)
        role = np.where(offered.role == ROLES.index(MORE), ROLES.index(OTHER), offered.role)
        return CHOICES.conform(
            every.assign(
                probe=self.kind,
                task=self.task,
                image_id=np.tile(keys, len(tables)),
                predicted=names[role[every["place"]]],
                truth=np.tile(names[offered.truth], len(tables)),
            )
        )

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Every caption that a picture is offered, in every template."""
        offered = self._offered(dataset, self.pictures(dataset), seed)
        offered = offered.only(np.flatnonzero(offered.asked))
        for wording in every_wording([self.prompts], articles=("absent",)):
            yield from map(wording.prompt, offered.captions)

    def _embedded(self, texts: Texts, captions: Sequence[str]) -> NDArray[np.float64]:
        """Captions in all templates, averaged by CLIP's rule, (captions, d).

        A caption has articles of its own, so one before its place is left out.
        """
        if not captions:
            return np.zeros((0, 1))
        asked = every_wording([self.prompts], articles=("absent",))
        prompts = [[w.prompt(caption) for caption in captions] for w in asked]
        found = texts.encode([text for one in prompts for text in one])
        return ensemble(found.reshape(len(asked), len(captions), -1))

    def _conditions(self, offered: Offered) -> Iterator[tuple[str, Flags]]:
        """Each condition and which captions it offers, (n, m)."""
        there = offered.at >= 0
        right, close, other, more = (offered.role == i for i in range(len(ROLES)))
        for condition in (ENSEMBLE, *self.footage):
            yield condition, there & ~more if self.stressed else there
        if not self.stressed:
            return
        yield WITHOUT, there & (right | other)
        if INSTEAD in self._other_captions:
            yield INSTEAD, there & ~close
        if self.template and len(self.template.close) > 1:
            column = np.repeat(np.arange(len(self.template.close)), self.template.close_each)
            for i, name in enumerate(self.template.close):
                of_this = close.copy()
                of_this[close] = column == i
                yield close_only(name), there & (right | other | of_this)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """What close captions cost, how long the choices are, who was left out, and abstention."""
        keys = seen.images.keys
        offered = self._offered(seen.dataset, keys, seen.seed)
        every = {"probe": self.kind, "task": self.task, "level": design.confidence.level}
        tables = [
            measured(self._counted(rows, offered, design), **every, verdict=NOT_JUDGED),
            abstention(
                rows,
                design.groups,
                design.draws,
                design.confidence,
                self.thresholds,
                seed=design.seed,
            ),
        ]
        if self.contrasts():
            tables.append(self._costs(rows, design))
        if self.detail:
            tables.append(self._detected(rows, design))
        return MEASURES.joined(tables)

    def _counted(self, rows: pd.DataFrame, offered: Offered, design: Design) -> Iterator[Row]:
        """How many captions a picture has, what guessing would get, ties, and who is left out."""
        n = int(offered.asked.sum())
        sure = {"n": n, "subjects": len(np.unique(design.groups.clusters[offered.asked]))}
        for condition, places in self._conditions(offered.only(offered.asked)):
            length, told = places.sum(axis=1), {**sure, "condition": condition}
            for metric, value in (
                (OPTIONS, length.mean()),
                (FEWEST, length.min()),
                (MOST, length.max()),
            ):
                yield told | {"metric": metric, "value": float(value), "unit": "captions"}
            yield told | {"metric": GUESSING, "value": float((1 / length).mean())}
            ties = having(rows, condition=condition)["tie"]
            yield told | {"metric": TIES, "value": float(ties.mean()), "events": int(ties.sum())}
        for (attribute, group), member in zip(
            design.groups.index, design.groups.member.T, strict=True
        ):
            left = member & ~offered.asked
            if left.any():
                clusters = design.groups.clusters[left]
                yield {
                    "metric": LEFT_OUT,
                    "condition": ENSEMBLE,
                    "attribute": attribute,
                    "group": group,
                    "n": int(member.sum()),
                    "subjects": len(np.unique(clusters)),
                    "events": int(left.sum()),
                    "value": float(left.sum() / member.sum()),
                    "status": NOT_ASKED,
                    "reason": f"without {self.written.needs}",
                }

    def _costs(self, rows: pd.DataFrame, design: Design) -> pd.DataFrame:
        """What close captions and poor footage do to errors, of everyone and to gaps, in words."""
        effects = condition_effects(
            rows, self.labels, design.groups, design.draws, design.confidence, self.contrasts()
        )
        errors = having(effects, metric="misclassification", status=OK)
        of_all = having(errors, comparison=RATE, attribute=EVERYONE)
        wrong = having(effects, label=CLOSE, comparison=RATE, attribute=EVERYONE)
        poor = errors["condition"].isin(list(self.footage))
        gaps = errors[(errors["comparison"] == WORST) & (poor | (errors["condition"] == WITHOUT))]
        gaps = gaps[~gaps["attribute"].str.contains(" x ", regex=False)]
        chosen = dict(zip(wrong["condition"], wrong["before"], strict=True))
        return measured(
            [
                footage_row(row)
                if row["condition"] in self.footage
                else cost_row(row, chosen[row["condition"]])
                for row in records(of_all)
            ]
            + [
                footage_row(row) if row["condition"] in self.footage else gap_cost_row(row)
                for row in records(gaps)
            ]
        )

    def _detected(self, rows: pd.DataFrame, design: Design) -> pd.DataFrame:
        """How often the detail is missed, and how often seen where it isn't, by group."""
        assert self.detail is not None
        groups, c = design.groups, design.confidence
        at = groups.at(rows["image_id"])
        there = (rows["truth"] == self.detail.there).to_numpy(bool)
        said = (rows["predicted"] == self.detail.there).to_numpy(bool)
        asked = Asked(self.kind, self.task, groups, at, design.draws, c, seed=design.seed)
        found = []
        for metric, happened, of in ((MISSED, ~said, there), (INVENTED, said, ~there)):
            if of.any():
                question = Question(metric, ENSEMBLE, happened, of, "misclassification")
                found.append(self._detected_words(measures_of(question, asked), metric))
        found.append(measured(told_apart_rows(said, there, asked), probe=self.kind, task=self.task))
        return pd.concat(found, ignore_index=True)

    def _detected_words(self, table: pd.DataFrame, metric: str) -> pd.DataFrame:
        """The table with a statement for every widest gap of a single attribute."""
        assert self.detail is not None
        it, says = (
            ("show it", self.detail.not_there)
            if metric == MISSED
            else ("don't show it", self.detail.there)
        )
        what = f"Asked '{self.task}' of pictures that {it}, the model says '{says}'"
        rates = rates_by_name(table)
        gaps = (table["other"] != "") & ~table["attribute"].str.contains(" x ", regex=False)
        told = [gap_sentence(row, rates, what) for row in records(table[gaps])]
        table.loc[gaps, "statement"] = told
        table.loc[gaps, "harm"] = "quality of service"
        return table


def close_only(column: str) -> str:
    """The condition in which close captions change this one column."""
    return f"close captions by {column} only"


def _similarities(
    vectors: NDArray[np.float32], captions: NDArray[np.float64], at: Integers
) -> NDArray[np.float64]:
    """Similarity of each picture to each of its captions, (n, m); whatever is in places of none."""
    found = np.empty(at.shape)
    step = max(1, _AT_ONCE // max(at.shape[1] * vectors.shape[1], 1))
    for start in range(0, len(at), step):
        rows = slice(start, start + step)
        pictures = vectors[rows].astype(np.float64)
        found[rows] = np.einsum("nd,nmd->nm", pictures, captions[at[rows]])
    return found


def _choose(
    similarity: NDArray[np.float64], order: NDArray[np.float64], scoring: Scoring
) -> pd.DataFrame:
    """The place chosen, its probability, its lead and whether that is none; -inf: not offered.

    Captions that are alike to the model are drawn among by ``order``.
    """
    top = similarity.max(axis=1, keepdims=True)
    place = np.where(similarity >= top - _ALIKE, order, -1.0).argmax(axis=1)
    rows = np.arange(len(similarity))
    share = scoring.of_chosen(similarity, top[:, 0])
    others = similarity.copy()
    others[rows, place] = -np.inf
    margin = np.maximum(top[:, 0] - others.max(axis=1), 0.0)
    return pd.DataFrame({"place": place, "score": share, "margin": margin, "tie": margin < TIE})
