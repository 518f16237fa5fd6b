"""What a section with a module of its own is made of: blocks, one below another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from matplotlib.figure import Figure

from audit.core.page import Markdown
from audit.core.registry import unknown
from audit.core.rundir import Run
from audit.probes.kit.cells import printed


@dataclass(frozen=True, init=False)
class Picture:
    """A figure: a function of the run and ``which`` (task, attribute ...); its name names the file.

    Where it raises InputError, since there is nothing to draw, the reason takes its place.
    """

    draw: Callable[..., Figure]
    which: tuple[str, ...]

    def __init__(self, draw: Callable[..., Figure], *which: str) -> None:
        object.__setattr__(self, "draw", draw)
        object.__setattr__(self, "which", which)


@dataclass(frozen=True)
class Part:
    """Blocks under a heading, of one task say; whatever is folded away comes last in it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Folded:
    """What only some readers want: in the page its heading alone is seen until it is opened."""

    title: str
    blocks: Sequence[Block]


#: a plain string is escaped; Markdown, such as ``said(...)`` or ``table(...)``, stays as it is
Block: TypeAlias = str | Markdown | Picture | Part | Folded


#: the sections of the report; their order, numbers and titles are in its template
Place = Literal[
    "reading", "summary", "identity", "system", "uses", "stakeholders", "data", "groups",
    "label_sets", "prompts", "plan", "misclassification", "intersections", "sensitivity",
    "wordings", "retrieval", "association", "surveillance", "robustness", "calibration",
    "mitigation", "replication", "controls", "limits", "regulation", "recommendations",
    "reproduction", "changes",
]  # fmt: skip
PLACES: Final[tuple[Place, ...]] = get_args(Place)


def _nothing(run: Run) -> Sequence[Block]:
    return ()


@dataclass(frozen=True)
class Section:
    """One topic of the report with a module of its own.

    ``place``: the section of the report in which it stands, others beside it.
    ``would``: a sentence, if any, on what would ask for it: printed where ``tell`` gives nothing.
    ``tell``: what it shows of a run, top to bottom; nothing if that was not asked.
    """

    place: Place
    would: str
    tell: Callable[[Run], Sequence[Block]] = _nothing

    def __post_init__(self) -> None:
        require_place(self.place)


def require_place(name: object) -> None:
    """Refuse a section that the report doesn't have.

    Raises:
        InputError: it has none of this name.
    """
    if name not in PLACES:
        raise unknown("section of the report", str(name), PLACES)


def probe_would(kind: str) -> str:
    """The sentence ``would`` of a probe."""
    article = "An" if kind[0] in "aeiou" else "A"
    return f"{article} `{kind}` probe would (`clip-audit list probes` shows what there is)."


def said(text: str, **names: object) -> Markdown:
    """Markdown with a name, label or number in place of each ``{name}``; these stay words."""
    return Markdown(text.format(**{name: printed(value) for name, value in names.items()}))


#: what stands before everything about watching and recognising people
OUT_OF_SCOPE: Final = Markdown(
    """\
> “Certain use cases which would fall under the domain of surveillance and facial recognition are
> always out-of-scope regardless of performance of the model.”
> OpenAI, *Model Card: CLIP*, Out-of-Scope Use Cases (`model-card.md` in github.com/openai/CLIP)"""
)
#: and before everything about recognising them
A_FAILURE: Final = Markdown(
    """\
The numbers here are about a failure: of whom the embeddings do not tell people apart. None of them,
however low, recommends the model for recognising anybody."""
)
