"""How a checkpoint turns texts into tokens, whole, and at which token it reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.models.encoder import digest_of
from audit.models.jsonfile import read_json
from audit.models.kinds.base import Dual, Prepare, Reading
from audit.models.libraries import readable

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

_CONFIG: Final = "tokenizer_config.json"
_CURE: Final = "Take the tokenizer that belongs to this checkpoint."
_END: Final = "<|endoftext|>"
#: how tokenizer.json calls the tokens around a text
_MARKS: Final = {"cls": "<|startoftext|>", "sep": _END}
#: files of transformers 4, which say more of a tokenizer
_OLDER: Final = ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")
#: digest of what transformers 5 writes for a CLIP's tokenizer, vocabulary and ids apart
_AS_WRITTEN: Final = "04c48d4e42951f4d61e4e23377ff27f6b67c072ee3419b214c97559217d75f77"


class Described(Protocol):
    """A folder with the files of transformers, of which config.json was read."""

    @property
    def folder(self) -> Path:
        """Where they are."""

    @property
    def ref(self) -> str:
        """The model's name, for sentences."""

    @property
    def config(self) -> Dual:
        """What config.json says."""


@dataclass(frozen=True)
class Words:
    """A checkpoint's tokenizer, which never cuts a text and knows where the model will read it.

    ``spelling`` is what is done to a text before; ``end`` the token at which texts are read where
    that is their end, None if the largest.
    """

    tokenizer: PreTrainedTokenizerBase
    context: int
    vocabulary: int
    end: int | None
    padding: int | None
    spelling: Prepare | None

    @classmethod
    def read(cls, checkpoint: Described) -> Words:
        """From a checkpoint's files, tried on one short text.

        Raises:
            InputError: the tokenizer can't be read, or ends texts where the model would not read.
        """
        config, ref = checkpoint.config, checkpoint.ref
        file = checkpoint.folder / _CONFIG
        said = read_json(file, ref) if file.is_file() else {}
        tokenizer = _tokenizer(checkpoint, said)
        with readable(ref, "tokenizer"):
            words = _READINGS[config.reading](
                tokenizer,
                context=min(config.context, int(tokenizer.model_max_length)),
                vocabulary=config.text_config.vocab_size,
                end=config.end,
                padding=tokenizer.pad_token_id if config.padding is None else config.padding,
                spelling=config.spelling(tokenizer, said),
            )
            words._try(ref)
        return words

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole.

        Raises:
            InputError: a text is longer than the context, or would not be read at its end.
        """
        found = self._split(texts)
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
                    f"knows {self.vocabulary} tokens only. {_CURE}"
                )
            if not self._reads(row):
                raise InputError(
                    f"this model would not read '{text}' to its end: its tokenizer turns a part "
                    "of it into an end-of-text or higher token, as it does with characters it "
                    "does not know, or leaves nothing of it. Reword it."
                )
            if self._unknown in row:
                raise InputError(
                    f"this model would not read all of '{text}': its tokenizer does not know a "
                    "part of it, and puts the token for whatever is unknown there. Reword it."
                )
        return found

    def _split(self, texts: Sequence[str]) -> list[list[int]]:
        spelt = [self.spelling(text) for text in texts] if self.spelling else list(texts)
        rows = self.tokenizer(spelt, padding=False, truncation=False, verbose=False)
        found: list[list[int]] = rows["input_ids"]
        return found

    @property
    def _unknown(self) -> int | None:
        """The token of what the tokenizer does not know, where it is no other token as well."""
        unknown: int | None = self.tokenizer.unk_token_id
        return None if unknown == self.tokenizer.eos_token_id else unknown

    def _try(self, ref: str) -> None:
        row = self._split(["a"])[0]
        if not self._reads(row):
            raise InputError(f"{ref}: {self._misread(row)}")
        if self.context < len(row):
            raise InputError(
                f"{ref}: a context of {self.context} tokens (tokenizer_config.json and config.json)"
                f" leaves no room for the {len(row)} tokens of 'a'. Give a complete checkpoint."
            )

    def _require_padding(self, ref: str) -> None:
        got = self.tokenizer.pad_token_id
        if got is None or got != self.padding or got >= self.vocabulary:
            raise InputError(
                f"{ref}: the tokenizer pads texts with token {got}, which is not the pad_token_id "
                f"of config.json or not in a vocabulary of {self.vocabulary}. {_CURE}"
            )

    def _reads(self, row: list[int]) -> bool:
        """Whether the model reads a row of tokens where, and as far as, its text goes."""
        raise NotImplementedError

    def _misread(self, row: list[int]) -> str:
        """Why it does not, of the row of a text that must be right."""
        raise NotImplementedError

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on what a tokenizer says otherwise than its kind of model was trained."""
        return ()

    def inputs(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Rows of ``ids``, padded as the model reads them: ids and mask, both (n, length)."""
        import torch

        length = self._length(rows)
        ids = np.empty((len(rows), length), dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            at = slice(length - len(row), None) if self._left else slice(len(row))
            ids[i] = self._pad(row)
            ids[i, at] = row
            mask[i, at] = 1
        told = {"input_ids": torch.from_numpy(ids)}
        return told | {"attention_mask": torch.from_numpy(mask)} if self._masked else told

    def _length(self, rows: Sequence[list[int]]) -> int:
        return max(map(len, rows))

    def _pad(self, row: list[int]) -> int:
        assert self.padding is not None
        return self.padding

    @property
    def _left(self) -> bool:
        return False

    @property
    def _masked(self) -> bool:
        return True


@dataclass(frozen=True)
class Plain:
    """CLIP's tokenizer as transformers 5 saves it, without the seconds that importing that takes.

    Its names are those of a tokenizer of transformers, as far as they are used here.
    """

    splits: Tokenizer
    model_max_length: int
    bos_token_id: int
    eos_token_id: int

    @classmethod
    def read(cls, folder: Path, said: Fields) -> Plain | None:
        """The tokenizer of a folder; None if a file says anything but what transformers 5 writes.

        ``said`` is tokenizer_config.json.
        """
        longest, file = said.get("model_max_length"), folder / "tokenizer.json"
        older = any((folder / name).exists() for name in _OLDER)
        if older or type(longest) is not int or not file.is_file():
            return None
        stored = json.loads(file.read_bytes())
        ids = {each["content"]: each.pop("id") for each in stored["added_tokens"]}
        named = {mark: [token, ids.get(token)] for mark, token in _MARKS.items()}
        after = stored["post_processor"] or {}
        if {mark: after.pop(mark, None) for mark in _MARKS} != named:
            return None
        (stored.pop("padding", None), stored["model"].pop("vocab"), stored["model"].pop("merges"))
        if digest_of({"files": stored, "said": {**said, "model_max_length": 0}}) != _AS_WRITTEN:
            return None
        from tokenizers import Tokenizer

        splits = Tokenizer.from_file(str(file))
        splits.no_padding()
        return cls(splits, longest, *(ids[token] for token in _MARKS.values()))

    @property
    def pad_token_id(self) -> int:
        """The end of text, as in training."""
        return self.eos_token_id

    @property
    def unk_token_id(self) -> int:
        """The end of text as well."""
        return self.eos_token_id

    def __call__(self, texts: list[str], **_: bool) -> dict[str, list[list[int]]]:
        """Token ids of each text, neither padded nor cut."""
        return {"input_ids": [each.ids for each in self.splits.encode_batch(texts)]}


def _tokenizer(checkpoint: Described, said: Fields) -> PreTrainedTokenizerBase:
    """The tokenizer that a folder names: a plain CLIP's without transformers."""
    ref = checkpoint.ref
    with readable(ref, "tokenizer"):
        if plain := Plain.read(checkpoint.folder, said):
            return plain
    import transformers

    if said.get("tokenizer_class") == "SiglipTokenizer" and find_spec("sentencepiece") is None:
        got = f"{ref}: SigLIP's tokenizer needs the package sentencepiece, which is not installed"
        raise InputError(got, "Install it: pip install sentencepiece protobuf")
    with readable(ref, "tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(
            checkpoint.folder,
            config=checkpoint.config.configuration(),  # for its kind alone
            local_files_only=True,
            trust_remote_code=False,
        )


class ReadAtEnd(Words):
    """CLIP: read at the first token that ends a text; what follows is not seen.

    transformers takes the largest token id if the configuration of a CLIP says ``eos_token_id: 2``
    (an old mistake kept for OpenAI's checkpoints, where the end-of-text id happens to be the
    largest), else the first ``eos_token_id``. Either is right only if that is where the text ends;
    anything else would embed part of the text in silence.
    """

    def _reads(self, row: list[int]) -> bool:
        wanted = max(row, default=0) if self.end is None else self.end
        return bool(row) and wanted in row and row.index(wanted) == len(row) - 1

    def _misread(self, row: list[int]) -> str:
        end = 2 if self.end is None else self.end
        rule = "largest token id" if self.end is None else f"first token {end}"
        return (
            f"config.json says text_config.eos_token_id {end}, so transformers "
            f"reads a text at its {rule}, but the tokenizer makes {row} of 'a' and ends texts "
            f"with {self.tokenizer.eos_token_id}: texts would be read at the wrong token. Set "
            "eos_token_id to the tokenizer's end-of-text id (which must not be 2) and retrain, "
            "or take the tokenizer that belongs to this checkpoint."
        )

    def _pad(self, row: list[int]) -> int:
        # a CLIP reads nothing after the end (attention is causal), and repeating the end keeps
        # it the first largest id, whatever the tokenizer would pad with
        return row[-1]


class ReadAtStart(Words):
    """BERT and RoBERTa: read at the first token, which sees all that are not padding."""

    def _reads(self, row: list[int]) -> bool:
        ends = (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        whole = len(row) > 2 and (row[0], row[-1]) == ends and row.count(ends[1]) == 1
        return whole and self.padding not in row

    def _misread(self, row: list[int]) -> str:
        return (
            f"the model reads a text at its first token, but the tokenizer makes {row} of 'a', "
            f"which does not stand between {self.tokenizer.cls_token_id} (its cls_token) and "
            f"{self.tokenizer.sep_token_id} (its sep_token), or has padding in it. {_CURE}"
        )

    def _try(self, ref: str) -> None:
        super()._try(ref)
        self._require_padding(ref)


class ReadAtLast(Words):
    """SigLIP: padded to the whole context, as in training, and read at the last token of that.

    Padding is seen like any token, unless the tokenizer says that its model takes a mask.
    """

    def _reads(self, row: list[int]) -> bool:
        end = self.tokenizer.eos_token_id
        return len(row) > 1 and row[-1] == end and row.count(end) == 1

    def _misread(self, row: list[int]) -> str:
        return (
            f"the tokenizer makes {row} of 'a' and does not end it with its end of text, "
            f"{self.tokenizer.eos_token_id}, as in training. {_CURE}"
        )

    def _try(self, ref: str) -> None:
        super()._try(ref)
        self._require_padding(ref)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Of a mask, or padding before the text, which the published models do not have."""
        told = []
        if self._masked:
            told.append("an attention mask (model_input_names), so that padding is not seen")
        if self._left:
            told.append("padding before a text (padding_side)")
        return tuple(
            f"tokenizer_config.json asks for {each}; SigLIP was trained without. It is followed, "
            "as transformers does; where this model was trained as SigLIP was, its scores are off."
            for each in told
        )

    def _length(self, rows: Sequence[list[int]]) -> int:
        return self.context

    @property
    def _left(self) -> bool:
        return bool(self.tokenizer.padding_side == "left")

    @property
    def _masked(self) -> bool:
        return "attention_mask" in self.tokenizer.model_input_names


_READINGS: Final[dict[Reading, type[Words]]] = {
    "end": ReadAtEnd, "start": ReadAtStart, "last": ReadAtLast,
}  # fmt: skip
