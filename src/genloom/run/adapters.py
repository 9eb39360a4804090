"""Low-rank changes of a run's weights: kept beside them as the package peft does, put into them, and whole models
written as transformers reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from genloom.core.config import RunConfig
from genloom.core.errors import InputError
from genloom.core.family import Family
from genloom.core.files import write_atomic, write_json
from genloom.core.run import CONFIG, MANIFEST, STATE, WEIGHTS, RunFolder
from genloom.nets import lora
from genloom.nets.lora import LoraConfig
from genloom.nets.pretrained import Pretrained
from genloom.run.trained import Run

ADAPTER = "adapter"  # folder in a run


def settings_of(config: RunConfig) -> LoraConfig | None:
    """The LoRA settings of a run that trained low-rank changes only; None of others."""
    found = getattr(config.family, "lora", None)
    return found if isinstance(found, LoraConfig) and found.rank else None


def _network(family: Family) -> nn.Module:
    """The network that the changes belong to, under whose names others know its layers."""
    model = family.players()["model"]
    return model.net if isinstance(model, Pretrained) else model


def write_adapter(folder: Path, family: Family, config: RunConfig) -> None:
    """Write adapter/ into a run folder, as peft reads it, where there are low-rank changes."""
    chosen = settings_of(config)
    if chosen is None:
        return
    settings, tensors = lora.adapter(_network(family), chosen, config.start or "")
    (folder / ADAPTER).mkdir(exist_ok=True)
    write_atomic(folder / ADAPTER / "adapter_model.safetensors", safetensors.torch.save(tensors, {"format": "pt"}))
    write_json(folder / ADAPTER / "adapter_config.json", settings)


def merge(run: Run, out: Path) -> Path:
    """A run folder in which the low-rank changes are part of the weights. Raises InputError when there are none."""
    if settings_of(run.config) is None:
        raise InputError(
            f"{run.name} has no low-rank changes (it was not trained with --lora): nothing is to be merged"
        )
    config = run.config.model_dump(mode="json")
    config["family"]["lora"]["rank"] = 0
    folder = RunFolder.create(out)
    folder.write_json(CONFIG, config)
    folder.write_json(STATE, run.folder.read_json(STATE))
    manifest = {k: v for k, v in run.folder.manifest().items() if k != "files"}
    folder.write_json(MANIFEST, {**manifest, "merged": {"run": run.name, "weights": run.manifest["files"][WEIGHTS]}})
    folder.save_weights(lora.merged(run.family))
    Run.open(out).write_report()
    return out


def export(run: Run, out: Path) -> Path:
    """A folder that transformers reads: config.json, model.safetensors with all changes put in, tokenizer.json. Raises
    InputError for models that are not of transformers, or when the folder is not empty."""
    model = run.family.players().get("model")
    if not isinstance(model, Pretrained):
        raise InputError(f"{run.name} is no model of transformers but {run.config.model}; leave --to out")
    if model.label is not None:
        raise InputError(f"{run.name} was trained with classes, for which a model of transformers has no place")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another with --out")
    out.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = json.loads(model.net.config.to_json_string(use_diff=False))
    settings |= {"architectures": [type(model.net).__name__], "dtype": "float32"}
    doubles = {name.removeprefix("net.") for name in model.doubles()}
    tensors = {n: t.cpu().contiguous() for n, t in lora.merged(model.net).items() if n not in doubles}
    write_atomic(out / "model.safetensors", safetensors.torch.save(tensors, {"format": "pt"}))
    run.modality.write_tokenizer(out / "tokenizer.json")  # type: ignore[attr-defined]
    vocabulary = json.loads((out / "tokenizer.json").read_text("utf-8"))
    signs = _signs(vocabulary, model.begin_id, model.end_id)
    write_json(out / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **signs})
    write_json(out / "config.json", settings)
    return out


def _signs(tokenizer: dict[str, Any], begin: int, end: int) -> dict[str, str]:
    """The texts of the ids that begin and end, from a tokenizer.json."""
    by_id = {t["id"]: t["content"] for t in tokenizer.get("added_tokens", [])}
    vocab = tokenizer.get("model", {}).get("vocab", {})
    pairs = vocab.items() if isinstance(vocab, dict) else ((entry[0], i) for i, entry in enumerate(vocab))
    by_id = {**{i: text for text, i in pairs}, **by_id}
    return {name: by_id[i] for name, i in (("bos_token", begin), ("eos_token", end)) if i in by_id}
