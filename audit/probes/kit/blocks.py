"""What a section with a module of its own is made of: blocks, one below another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from matplotlib.figure import Figure

from audit.core.page import Markdown
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


def _nothing(run: Run) -> Sequence[Block]:
    return ()


@dataclass(frozen=True)
class Section:
    """One topic of the report with a module of its own.

    ``place``: the number of the report's section under which it stands, others beside it.
    ``would``: a sentence, if any, on what would ask for it: printed where ``tell`` gives nothing.
    ``tell``: what it shows of a run, top to bottom; nothing if that was not asked.
    """

    place: int
    would: str
    tell: Callable[[Run], Sequence[Block]] = _nothing


def probe_would(kind: str) -> str:
    """The sentence ``would`` of a probe."""
    article = "An" if kind[0] in "aeiou" else "A"
    return f"{article} `{kind}` probe would (`clip-audit list probes` shows what there is)."


def said(text: str, **names: object) -> Markdown:
    """Markdown with a name, label or number in place of each ``{name}``; these stay words."""
    return Markdown(text.format(**{name: printed(value) for name, value in names.items()}))


#: what stands before everything about recognising people
OUT_OF_SCOPE: Final = Markdown(
    """\
> “Certain use cases which would fall under the domain of surveillance and facial recognition are
> always out-of-scope regardless of performance of the model.”
> OpenAI, *Model Card: CLIP*, Out-of-Scope Use Cases (`model-card.md` in github.com/openai/CLIP)

The numbers here are about a failure: of whom the embeddings do not tell people apart. None of them,
however low, recommends the model for recognising anybody."""
)
