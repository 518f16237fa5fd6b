"""Tiny random models of two towers, a kind each, in the layouts that transformers writes.

``MADE`` names them; ``make(name, folder)`` writes one. Weights are random: what is tested with
them is that a model is read as its own library reads it, never how good it is.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 2}  # fmt: skip
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
WORDS = ("a", "photo", "of", "cat", "dog", "the", "man", "woman")
LETTERS = tuple(string.ascii_letters + string.digits)
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *LETTERS, *(f"##{x}" for x in LETTERS),
        *string.punctuation)  # fmt: skip
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", *(f"▁{w}" for w in WORDS), "▁", *LETTERS,
           *string.punctuation, "<mask>")  # fmt: skip
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS, *string.punctuation)
PIECES = ("</s>", "<unk>", "▁", *(f"▁{w}" for w in WORDS), *LETTERS, *string.punctuation)


def _config(kind: str, text: dict[str, Any], vision: dict[str, Any], **more: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(text_config=text, vision_config=vision, **more)


def _save(folder: Path, kind: str, config: Any, tokenizer: Any, pictures: Any) -> None:
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:  # random weights of 0.02 would make all embeddings alike
                weight.normal_(std=0.3 if "embedding" in name else 0.15)
        for name, value in (("logit_scale", 2.0), ("logit_bias", -3.0), ("temperature", 0.2)):
            if hasattr(model, name):
                getattr(model, name).fill_(value)
    model.save_pretrained(folder)
    processor = getattr(transformers, f"{PROCESSORS.get(kind, kind)}Processor")
    processor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)


PROCESSORS = {"MetaClip2": "CLIP"}


def _clip_pictures(kind: str = "CLIP") -> Any:
    made = getattr(transformers, f"{kind}ImageProcessorPil")
    return made(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def clip(folder: Path, end: int | None = None) -> None:
    """A CLIP; ``end`` is what config.json says of its end of text."""
    vocabulary = [*LETTERS, *(f"{x}</w>" for x in (*LETTERS, *string.punctuation)),
                  *string.punctuation, "<|startoftext|>", "<|endoftext|>"]  # fmt: skip
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = transformers.CLIPTokenizer(vocab=ids, merges=[], model_max_length=40)
    last = len(ids) - 1
    text = {**TOWER, "vocab_size": len(ids), "max_position_embeddings": 40,
            "eos_token_id": last if end is None else end}  # fmt: skip
    config = _config("CLIP", text, VISION, projection_dim=8)
    _save(folder, "CLIP", config, tokenizer, _clip_pictures())


def old_clip(folder: Path) -> None:
    """OpenAI's layout: ``eos_token_id`` 2, and the largest token ends a text."""
    clip(folder, end=2)


def roberta(**more: Any) -> Any:
    """XLM-RoBERTa's tokenizer with a word or letter a token."""
    pieces = [(piece, -1.0 if piece[1:] in WORDS else -9.0) for piece in ROBERTA]
    return transformers.XLMRobertaTokenizer(vocab=pieces, **more)


def metaclip_2(folder: Path) -> None:
    """A MetaCLIP 2: texts end with token 2."""
    text = {**TOWER, "vocab_size": len(ROBERTA), "max_position_embeddings": 40, "eos_token_id": 2}
    config = _config("MetaClip2", text, VISION, projection_dim=8)
    _save(folder, "MetaClip2", config, roberta(model_max_length=40), _clip_pictures())


def altclip(folder: Path) -> None:
    """An AltCLIP."""
    text = {**TOWER, "vocab_size": len(ROBERTA), "max_position_embeddings": 42, "project_dim": 12}
    config = _config("AltCLIP", text, VISION, projection_dim=8)
    # where nothing is said transformers takes 0.02 of 0.02 for this kind, and nothing is told apart
    _save(folder, "AltCLIP", config, roberta(model_max_length=40), _clip_pictures())


def bert(**more: Any) -> Any:
    """BERT's tokenizer with a word or letter a token; it lower-cases."""
    return transformers.BertTokenizer(vocab={word: i for i, word in enumerate(BERT)}, **more)


BERT_TEXT = {**TOWER, "vocab_size": len(BERT), "max_position_embeddings": 64}


def chinese_clip(folder: Path) -> None:
    """A Chinese-CLIP, which squeezes pictures into squares."""
    config = _config("ChineseCLIP", BERT_TEXT, VISION, projection_dim=8)
    size = {"height": 32, "width": 32}
    pictures = transformers.ChineseCLIPImageProcessorPil(size=size, do_center_crop=False)
    _save(folder, "ChineseCLIP", config, bert(model_max_length=52), pictures)


def align(folder: Path) -> None:
    """An ALIGN, whose pictures are between -1 and 1."""
    vision = {"depth_coefficient": 1.0, "width_coefficient": 1.0, "depth_divisor": 1,
              "kernel_sizes": [3, 3], "in_channels": [32, 8], "out_channels": [8, 8],
              "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2],
              "depthwise_padding": [], "hidden_dim": 64}  # fmt: skip
    config = _config("Align", BERT_TEXT, vision, projection_dim=8)
    pictures = transformers.EfficientNetImageProcessorPil(
        size={"height": 40, "width": 40}, crop_size={"height": 33, "width": 33},
        do_center_crop=True, rescale_factor=1 / 127.5, rescale_offset=True,
        do_normalize=False, include_top=False, resample=2,
    )  # fmt: skip
    _save(folder, "Align", config, bert(model_max_length=64), pictures)


def pair_of_bert_and_vit(folder: Path) -> None:
    """A VisionTextDualEncoder."""
    config = _config(
        "VisionTextDualEncoder",
        {**BERT_TEXT, "model_type": "bert"}, {**VISION, "model_type": "vit"}, projection_dim=8,
    )  # fmt: skip
    pictures = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    _save(folder, "VisionTextDualEncoder", config, bert(model_max_length=64), pictures)


def pair_of_roberta_and_clip(folder: Path) -> None:
    """A VisionTextDualEncoder: a multilingual text tower beside the picture tower of a CLIP."""
    text = {**TOWER, "vocab_size": len(ROBERTA), "max_position_embeddings": 42}
    config = _config(
        "VisionTextDualEncoder",
        {**text, "model_type": "xlm-roberta"}, {**VISION, "model_type": "clip_vision_model"},
        projection_dim=8,
    )  # fmt: skip
    tokenizer = roberta(model_max_length=40)
    _save(folder, "VisionTextDualEncoder", config, tokenizer, _clip_pictures())


SIGLIP_TEXT = {**TOWER, "max_position_embeddings": 64}
SQUARE = {"height": 32, "width": 32}
#: as the published files of both say it: no mask, padding to the right
PADDED: dict[str, Any] = {"model_input_names": ["input_ids"], "model_max_length": 64,
                          "padding_side": "right"}  # fmt: skip


def siglip(folder: Path) -> None:
    """A SigLIP with its own tokenizer, which needs sentencepiece."""
    from transformers.utils import sentencepiece_model_pb2_new as pb2

    proto = pb2.ModelProto()
    kinds = {"<unk>": 2, "</s>": 3}
    for piece in PIECES:
        score = -1.0 if piece[1:] in WORDS else -9.0
        proto.pieces.add(piece=piece, score=score, type=kinds.get(piece, 1))
    proto.trainer_spec.model_type = 1
    proto.trainer_spec.unk_id, proto.trainer_spec.eos_id = 1, 0
    proto.trainer_spec.bos_id = proto.trainer_spec.pad_id = -1
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(proto.SerializeToString())
    tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"), **PADDED)
    _siglip(folder, tokenizer, len(PIECES))


def _siglip(folder: Path, tokenizer: Any, size: int) -> None:
    config = _config("Siglip", {**SIGLIP_TEXT, "vocab_size": size}, VISION)
    pictures = transformers.SiglipImageProcessorPil(size=SQUARE)
    _save(folder, "Siglip", config, tokenizer, pictures)


def converted_siglip(folder: Path) -> None:
    """A SigLIP whose tokenizer somebody converted, without what SigLIP's own does to a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [(piece, -1.0 if piece[1:] in WORDS else -9.0) for piece in PIECES]
    split = Tokenizer(models.Unigram(pieces, unk_id=1))
    split.pre_tokenizer = pre_tokenizers.Metaspace()
    split.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 0)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=split, eos_token="</s>", pad_token="</s>", unk_token="<unk>", **PADDED
    )
    _siglip(folder, tokenizer, len(PIECES))


def gemma(kind: str, **more: Any) -> Any:
    """Gemma's tokenizer with a letter a token; the class of SigLIP 2 lower-cases, its own not."""
    ids = {word: i for i, word in enumerate(GEMMA)}
    ends = {"add_bos_token": False, "add_eos_token": True, "do_lower_case": True}
    return getattr(transformers, kind)(vocab=ids, merges=[], **ends, **PADDED, **more)


def siglip_2(folder: Path) -> None:
    """A SigLIP 2 of a fixed size: a SigLIP with Gemma's tokenizer."""
    _siglip(folder, gemma("GemmaTokenizer"), len(GEMMA))


def naflex(folder: Path) -> None:
    """A SigLIP 2 that takes pictures in their own shape."""
    vision = {**TOWER, "patch_size": 16, "num_patches": 16}
    config = _config("Siglip2", {**SIGLIP_TEXT, "vocab_size": len(GEMMA)}, vision)
    # Siglip2Processor takes 256 patches of 16 pixels, whatever is said here
    pictures = transformers.Siglip2ImageProcessorPil(patch_size=16, max_num_patches=256)
    _save(folder, "Siglip2", config, gemma("Siglip2Tokenizer"), pictures)


# --- as transformers 4 wrote them -----------------------------------------------------------------


def as_of_4(folder: Path) -> None:
    """Turn a folder into what transformers 4 wrote: other files, fields and names of weights."""
    nested = json.loads((folder / "processor_config.json").read_text())
    pictures = nested["image_processor"]
    kind = pictures["image_processor_type"].removesuffix("Pil")
    feature = kind.replace("ImageProcessor", "FeatureExtractor")
    pictures |= {"image_processor_type": kind, "feature_extractor_type": feature}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "processor_config.json").unlink()
    file = folder / "tokenizer_config.json"
    tokens = json.loads(file.read_text())
    tokens.pop("backend", None)
    special = {k: v for k, v in tokens.items() if k.endswith("_token") and isinstance(v, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    file.write_text(json.dumps(tokens))
    pair = json.loads((folder / "config.json").read_text())
    towers = (pair["model_type"], pair["vision_config"]["model_type"]) == (
        "vision-text-dual-encoder", "clip_vision_model",
    )  # fmt: skip
    weights = {_name_of_4(k, towers): v for k, v in load_file(folder / "model.safetensors").items()}
    for name, each in list(weights.items()):
        if found := re.search(r"^(text_model\..*embeddings\.)position_embeddings?\.weight$", name):
            weights[f"{found[1]}position_ids"] = torch.arange(len(each))[None]
    if pair["model_type"] == "altclip":
        weights["text_model.roberta.pooler.dense.weight"] = torch.ones(16, 16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _name_of_4(name: str, towers: bool) -> str:
    """The name that a weight had; ``towers``: of a pair whose picture tower is a CLIP's."""
    if towers:
        return re.sub(r"^vision_model\.", "vision_model.vision_model.", name)
    return re.sub(
        r"^(vision_model\.encoder\.)layer\.(?=\d+\.(self_attn|layer_norm|mlp))", r"\1layers.", name
    )


Maker = Callable[[Path], None]
MADE: dict[str, Maker] = {
    each.__name__: each
    for each in (
        clip, old_clip, siglip, converted_siglip, siglip_2, naflex, metaclip_2, altclip,
        chinese_clip, align, pair_of_bert_and_vit, pair_of_roberta_and_clip,
    )
}  # fmt: skip


def make(name: str, folder: Path) -> Path:
    """Write a tiny model into a folder; ``NAME of 4`` in the layout of transformers 4."""
    kind, _, older = name.partition(" of ")
    MADE[kind](folder)
    if older:
        as_of_4(folder)
    return folder
