"""How a checkpoint turns texts into tokens, whole, and at which token it reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.core.errors import AuditError, InputError
from audit.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Words:
    """A checkpoint's tokenizer, which never cuts a text and knows where the model will read it.

    A CLIP text tower is read at one token. transformers takes the largest token id if the
    configuration says ``eos_token_id: 2`` (an old mistake kept for OpenAI's checkpoints, where the
    end-of-text id happens to be the largest), else the first ``eos_token_id``. Either is right only
    if that is where the text ends; anything else would embed part of the text in silence.
    """

    tokenizer: Any
    context: int
    vocabulary: int
    eos: int
    largest: bool

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Words:
        """From a checkpoint's files, tried on one short text.

        Raises:
            InputError: the tokenizer can't be read, or ends texts where the model would not read.
        """
        from transformers import AutoTokenizer, CLIPConfig

        text = checkpoint.config.text_config
        with readable(checkpoint.ref, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                config=CLIPConfig(),  # for its kind alone; what it says has been read
                local_files_only=True,
                trust_remote_code=False,
            )
            longest = int(tokenizer.model_max_length)
            context = min(text.max_position_embeddings, longest)
            eos = text.eos_token_id
            words = cls(tokenizer, context, text.vocab_size, eos, largest=eos == 2)
            words._try(checkpoint.ref)
        return words

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole.

        Raises:
            InputError: a text is longer than the context, or would not be read at its end.
        """
        rows = self.tokenizer(list(texts), padding=False, truncation=False, verbose=False)
        found: list[list[int]] = rows["input_ids"]
        long = [i for i, row in enumerate(found) if len(row) > self.context]
        if long:
            more = f" ({len(long) - 1} more of {len(found)} are too long)" if len(long) > 1 else ""
            raise InputError(
                f"a text of {len(found[long[0]])} tokens is longer than the {self.context} this "
                f"model reads: '{shorten(texts[long[0]], 80)}'{more}. Shorten it; texts are never "
                "cut."
            )
        for text, row in zip(texts, found, strict=True):
            if max(row, default=0) >= self.vocabulary:
                raise InputError(
                    f"the tokenizer makes token {max(row)} of '{shorten(text, 80)}', and the model "
                    f"knows {self.vocabulary} tokens only. Take the tokenizer that belongs to this "
                    "checkpoint."
                )
            if not self._read_at_end(row):
                raise InputError(
                    f"this model would not read '{text}' to its end: its tokenizer turns a part "
                    "of it into an end-of-text or higher token, as it does with characters it "
                    "does not know. Reword it."
                )
        return found

    def _read_at_end(self, row: list[int]) -> bool:
        wanted = max(row) if self.largest else self.eos
        return bool(row) and wanted in row and row.index(wanted) == len(row) - 1

    def _try(self, ref: str) -> None:
        row = self.tokenizer(["a"], padding=False, truncation=False)["input_ids"][0]
        if not self._read_at_end(row):
            rule = "largest token id" if self.largest else f"first token {self.eos}"
            raise InputError(
                f"{ref}: config.json says text_config.eos_token_id {self.eos}, so transformers "
                f"reads a text at its {rule}, but the tokenizer makes {row} of 'a' and ends texts "
                f"with {self.tokenizer.eos_token_id}: texts would be read at the wrong token. Set "
                "eos_token_id to the tokenizer's end-of-text id (which must not be 2) and retrain, "
                "or take the tokenizer that belongs to this checkpoint."
            )
        if self.context < len(row):
            raise InputError(
                f"{ref}: a context of {self.context} tokens (tokenizer_config.json and config.json)"
                f" leaves no room for the {len(row)} tokens of 'a'. Give a complete checkpoint."
            )

    def padded(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, both (n, longest), padded so that each text still ends where it did."""
        import torch

        longest = max(map(len, rows))
        ids = np.empty((len(rows), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            # a CLIP reads nothing after the end (attention is causal), and repeating the end keeps
            # it the first largest id, whatever the tokenizer would pad with
            ids[i] = [*row, *[row[-1]] * (longest - len(row))]
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


@contextlib.contextmanager
def readable(ref: str, what: str) -> Iterator[None]:
    """Turn whatever a library says of a broken file into one sentence."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:  # libraries raise anything here: RuntimeError, TypeError, ...
        said = str(error).strip().splitlines()
        raise InputError(
            f"{ref}: its {what} can't be read: {said[0] if said else type(error).__name__:.200} "
            "Download or save the checkpoint again."
        ) from error
