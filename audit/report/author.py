"""What an author may write beside a run: the keys of ``narrative.yaml``, and one to start from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from audit.core.resources import TEMPLATE, shipped
from audit.core.rundir import Run
from audit.probes.kit.blocks import PLACES

#: begins what a draft holds in the place of words; nothing is published with it
PLACEHOLDER: Final = "Replace this:"
_Score = Annotated[int | None, Field(ge=1, le=10)]
#: YAML reads 2026-11-23 as a day
_Day = Annotated[str, BeforeValidator(lambda v: v.isoformat() if isinstance(v, date) else v)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Harm(_Row):
    """A row of the harm map: who is affected, how, and scores from 1 to 10."""

    who: str
    how: str = ""
    kind: str = ""
    severity: _Score = None
    likelihood: _Score = None
    detection: _Score = None


class Signature(_Row):
    """Who signs, as what and when."""

    role: str
    name: str = ""
    date: _Day = ""


class Change(_Row):
    """What changed in the report, and when."""

    date: _Day
    change: str


class Author(_Row):
    """What ``narrative.yaml`` may hold; every key may be left out."""

    run: str = ""
    auditor: str = ""
    independence: str = ""
    used_in: str = ""
    intended_use: str = ""
    harm_map: tuple[Harm, ...] = ()
    sign_off: tuple[Signature, ...] = ()
    changes: tuple[Change, ...] = ()
    sections: Mapping[str, str] = {}


#: keys that hold one line, each in a cell of the report
LINES: Final = ("auditor", "independence", "used_in", "intended_use")


@cache
def titles() -> Mapping[str, str]:
    """The numbered titles of the report's sections by name, as the template has them."""
    _, *sections = shipped(TEMPLATE).read_text(encoding="utf-8").split("\n## ")
    place = re.compile(r'^\{\{ words\("(\w+)"\) \}\}$', re.M)
    return {name: text.splitlines()[0] for text in sections for name in place.findall(text)}


def starter(run: Run) -> str:
    """A ``narrative.yaml`` to start from: every key, and the ids of the foremost findings."""
    first = run.findings[:8]
    ids = "\n".join(f"#   {f['id']}  ({f['verdict']})" for f in first)
    sections = "\n".join(f"  # {name}: |" for name in PLACES if name != "summary")
    quote = f"{{{{ {first[0]['id']} }}}}" if first else "{{ run.findings }} findings"
    words = {"ids": ids, "sections": sections, "quote": quote, "placeholder": PLACEHOLDER}
    form = Path(__file__).with_name("narrative.yaml.txt").read_text(encoding="utf-8")
    return form.format(run=run.manifest["run"], **words)
