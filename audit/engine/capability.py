"""What a model can do at all, asked of pictures that are drawn: nobody is shown in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from audit.core.errors import AuditError
from audit.core.rows import Fields, Row
from audit.engine.suite import Suite
from audit.models.drawn import capabilities
from audit.models.encoder import Encoder
from audit.models.self_check import asked

#: the key of a run's manifest
FACTS: Final = "capability"


@dataclass(frozen=True)
class Capability:
    """How many drawn pictures of one kind got the right one of ``answers`` texts."""

    name: str
    pictures: int
    right: int
    answers: int


def drawn_facts(suite: Suite, encoder: Encoder) -> Row:
    """What a run keeps of the drawn battery; nothing if the suite does not ask it.

    A model that can't be asked, as of recorded answers, says why.
    """
    if not suite.capability:
        return {}
    if encoder.card.recorded or encoder.card.gives != "embeddings":
        return {FACTS: {"reason": "the model can't be asked about pictures drawn here"}}
    try:
        found = [
            Capability(b.name, len(b.right), asked(encoder, b), len(b.texts))
            for b in capabilities()
        ]
    except (AuditError, LookupError, ValueError, TypeError) as error:
        return {FACTS: {"reason": f"the model refuses to be asked ({str(error)[:200]})"}}
    return {FACTS: {"drawn": [asdict(one) for one in found]}}


def capabilities_of(manifest: Fields) -> tuple[list[Capability], str]:
    """What a run's manifest holds of it, and why there is nothing; both blank if not asked."""
    kept = manifest.get(FACTS, {})
    return [Capability(**one) for one in kept.get("drawn", [])], str(kept.get("reason", ""))
