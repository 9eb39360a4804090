"""Tiny models of transformers with random weights and a tokenizer learnt from a few lines, in folders as on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

LINES = [f"the {a} {b} sees the {c} of {d}" for a in ("old", "new") for b in ("cat", "dog") for c in ("sun", "moon")
         for d in ("春天", "winter")]  # fmt: skip
PAIRED = ("t5", "bart")  # that read a source
END = "<|endoftext|>"
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64,
    },
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "bart": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
    },
}  # fmt: skip


def architecture(kind: str, vocab: int, begin: int, end: int) -> dict[str, Any]:
    """A tiny configuration without dropout."""
    chance = {
        "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}, "t5": {"dropout_rate": 0.0},
        "bart": {"dropout": 0.0},
    }  # fmt: skip
    signs = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": 0 if kind in PAIRED else None}
    return {"model_type": kind, "vocab_size": vocab, **signs, **SIZES[kind], **chance.get(kind, {})}


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs of LINES, with one sign at the end of texts."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=[END], show_progress=False)
    learner.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=learner, eos_token=END, bos_token=END)


def folder(path: Path, kind: str = "gpt2", seed: int = 0) -> Path:
    """A model with its tokenizer, saved as transformers does."""
    words = tokenizer()
    values = architecture(kind, len(words), words.bos_token_id, words.eos_token_id)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    torch.manual_seed(seed)
    model = (AutoModelForSeq2SeqLM if kind in PAIRED else AutoModelForCausalLM).from_config(config)
    if kind in PAIRED:
        model.generation_config.decoder_start_token_id = 0
    model.save_pretrained(path)
    words.save_pretrained(path)
    return path
