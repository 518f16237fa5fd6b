"""The parameters of every rendered picture: a committed table, and how its later rows were drawn.

The first rows (448 audit, 616 counterfactual, 1,739 train) are data. ``extend`` adds the rest from
the same distributions; each row has its own random stream, so the order of drawing is irrelevant.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from itertools import count, islice, product

import numpy as np
import pandas as pd

from audit.core import resources
from audit.core.rows import Row, having
from audit.data.people import vocabulary as words
from audit.data.people.vocabulary import ANCESTRIES, GENDERS

AUDIT_REPETITIONS = 40
TRAIN_ROWS = 5_000
OLD_HAIR = (["grey", "white", "dark"], [0.45, 0.35, 0.2])
YOUNG_HAIR = (
    ["black", "dark", "brown", "lightbrown", "blond", "red"],
    [0.3, 0.25, 0.2, 0.1, 0.1, 0.05],
)
# Chances of the hair styles by gender in the odd training rows; everywhere else they are equal.
HAIR_BY_GENDER = {
    "female": [0.42, 0.18, 0.13, 0.13, 0.07, 0.07],
    "male": [0.08, 0.05, 0.3, 0.27, 0.22, 0.08],
}
UNIFORM = {
    "smile": (0, 0.8),
    "weight": (0.25, 0.85),
    "yaw": (-24, 24),
    "key": (0.7, 1.2),
    "keydir_x": (-1.2, 1.2),
    "keydir_y": (0.3, 1.0),
    "env": (0.25, 0.5),
    "zoom": (1.05, 1.3),
}
WEIGHTS = [f"ancestry_{name}" for name in ANCESTRIES]
KEY_DIRECTION = ["keydir_x", "keydir_y", "keydir_z"]
FAMILY = ["family", "changed", "variant"]
SHOWN = [
    "ancestry",
    "gender",
    "age",
    "age_group",
    "hair_style",
    "hair_colour",
    "clothing_type",
    "clothing_colour",
    "background",
    "skin_tone_ita",
]
Row = Row


@lru_cache(1)
def load() -> pd.DataFrame:
    """Every row of every split, as committed."""
    return pd.read_parquet(resources.bundled("datasets") / "people" / "parameters.parquet")


def rows_of(split: str) -> list[Row]:
    """The rows of one split as dictionaries, with the mixes nested as the renderer takes them."""
    table = load()
    return [nested(row) for row in having(table, split=split).to_dict("records")]


def nested(row: Mapping[Hashable, object]) -> Row:
    """A flat table row with ``ancestry_weights`` and ``keydir`` put together again."""
    flat: Row = {str(key): value for key, value in row.items()}
    weights = {name: flat.pop(column) for name, column in zip(ANCESTRIES, WEIGHTS, strict=True)}
    direction = [flat.pop(column) for column in KEY_DIRECTION]
    return {**flat, "ancestry_weights": weights, "keydir": direction}


def manifest(split: str) -> pd.DataFrame:
    """What a dataset says of its pictures: ids, files and attributes, without rendering knobs."""
    table = load()
    table = having(table, split=split).reset_index(drop=True)
    ids = table["path"].str.replace("/", "-").str.removesuffix(".jpg")
    family = FAMILY if split == "counterfactual" else []
    return pd.concat(
        [ids.rename("image_id"), table[["path", "subject_id", *family, *SHOWN]]], axis=1
    )


def extend(first: pd.DataFrame) -> pd.DataFrame:
    """The first rows followed by the later audit rows and the later training rows."""
    is_train = first["split"] == "train"
    audit = _later_audit(_tones(first[~is_train]), set(first["identity"]))
    held_out = set(first.loc[~is_train, "identity"]) | {row["identity"] for row in audit}
    train = _later_train(first[is_train], held_out)
    later = pd.DataFrame(audit + train).assign(batch="later")
    whole = pd.concat([first, later], ignore_index=True)[list(first.columns)]
    return whole.sort_values(["split", "path"], ignore_index=True)


def _tones(rows: pd.DataFrame) -> pd.Series:
    """Angle of the skin tone by tone: a function of tone alone, so it is read off known rows."""
    return rows.drop_duplicates("tone").set_index("tone")["skin_tone_ita"].sort_index()


def _later_audit(tones: pd.Series, taken: set[int]) -> list[Row]:
    rows: list[Row] = []
    for repetition, cell in product(range(14, AUDIT_REPETITIONS), range(32)):
        rows.append(_audit_row(repetition, cell, taken, tones))
        taken.add(rows[-1]["identity"])
    return rows


def _later_train(first: pd.DataFrame, held_out: set[int]) -> list[Row]:
    used, tones = set(first["path"]), _tones(first)
    unused = (i for i in count() if f"train/{i:05d}.jpg" not in used)
    missing = TRAIN_ROWS - len(first)
    return [_train_row(index, held_out, tones) for index in islice(unused, missing)]


def _audit_row(repetition: int, cell: int, taken: set[int], tones: pd.Series) -> Row:
    """One row of the balanced grid ancestry x gender x age group."""
    rng = np.random.default_rng([1, repetition, cell])
    row = draw(rng, None)
    ancestry, group = words.ANCESTRIES_AND_MIXED[cell // 8], cell % 4
    row |= {"ancestry": ancestry, **_weights(rng, ancestry, 3)}
    row |= _gender(cell // 4 % 2)
    row["age"] = float(rng.uniform(*words.AGE_RANGES[group]))
    row["hair_colour"] = _pick(rng, OLD_HAIR if group == 3 else YOUNG_HAIR)
    row["tone"] = _tone(rng, ancestry)
    number = repetition * 32 + cell
    names = {"path": f"audit/{number:04d}.jpg", "split": "audit", "subject_id": f"a{number:04d}"}
    return _finish(rng, row | names, taken, tones)


def _train_row(index: int, taken: set[int], tones: pd.Series) -> Row:
    rng = np.random.default_rng([3, index])
    row = draw(rng, HAIR_BY_GENDER if index % 2 else None)
    names = {"path": f"train/{index:05d}.jpg", "split": "train", "subject_id": f"t{index:05d}"}
    return _finish(rng, row | names, taken, tones)


def draw(rng: np.random.Generator, hair_by_gender: dict[str, list[float]] | None) -> Row:
    """One person from the common distributions (the order of draws is part of the data)."""
    ancestry = str(rng.choice(words.ANCESTRIES_AND_MIXED))
    row: Row = {"ancestry": ancestry, **_weights(rng, ancestry, 1.5)}
    row |= _gender(int(rng.integers(2)))
    row["age"] = float(rng.choice([rng.uniform(*bounds) for bounds in words.AGE_RANGES]))
    chances = hair_by_gender[row["gender"]] if hair_by_gender else [1 / 6] * 6
    row["hair"] = _pick(rng, (list(words.HAIR), chances))
    row["hair_colour"] = _pick(rng, OLD_HAIR if row["age"] > 58 else YOUNG_HAIR)
    row["clothing_colour"] = str(rng.choice(list(words.PALETTE)))
    row["background"] = str(rng.choice(list(words.BACKGROUNDS)))
    row["tone"] = _tone(rng, ancestry)
    row["clothing"] = str(rng.choice(list(words.CLOTHES)))
    row["eye_colour"] = _pick(rng, (list(words.EYE_COLOURS), [0.55, 0.25, 0.12, 0.08]))
    for name, bounds in UNIFORM.items():
        row[name] = float(rng.uniform(*bounds))
    row["keydir_z"] = 1.6
    return row | {"identity": int(rng.integers(1, 10**6))}


def _gender(number: int) -> Row:
    return {"gender": GENDERS[number], "gender_value": float(number)}


def _pick(rng: np.random.Generator, chances: tuple[list[str], list[float]]) -> str:
    return str(rng.choice(chances[0], p=chances[1]))


def _weights(rng: np.random.Generator, ancestry: str, concentration: float) -> Row:
    """Shares of the three ancestry shapes; only a mixed one uses the random stream."""
    if ancestry == "mixed":
        return dict(zip(WEIGHTS, map(float, rng.dirichlet([concentration] * 3)), strict=True))
    return {f"ancestry_{name}": 0.9 if name == ancestry else 0.05 for name in ANCESTRIES}


def _tone(rng: np.random.Generator, ancestry: str) -> float:
    return float(np.clip(words.TONE[ancestry] + rng.normal(0, 0.13), -0.1, 1.25))


def _finish(rng: np.random.Generator, row: Row, taken: set[int], tones: pd.Series) -> Row:
    """Derived columns, and an identity that no other split has."""
    while row["identity"] in taken:
        row["identity"] = int(rng.integers(1, 10**6))
    row |= {"hair_style": words.HAIR[row["hair"]], "clothing_type": words.CLOTHES[row["clothing"]]}
    row |= {"age_group": words.age_group(row["age"]), "age": round(row["age"], 1)}
    angle = np.interp(row["tone"], tones.index.to_numpy(), tones.to_numpy())
    return row | {"skin_tone_ita": round(float(angle), 2)}
