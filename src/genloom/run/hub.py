"""Models in folders of transformers and on the hub: read without unpickling and without running code that comes with
them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genloom.core.errors import InputError
from genloom.nets.pretrained import architecture_of, quiet, transformers

WANTED = ("*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt")  # no pickles, no code
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class Found:
    """architecture: JSON. tokenizer: the text of its tokenizer.json. begin, end: ids of what texts begin and end with.
    weights: by the names that the network gives them."""

    architecture: dict[str, Any]
    tokenizer: str
    begin: int
    end: int
    weights: dict[str, Tensor]


def download(name: str) -> Path:
    """The folder of a model of the hub, from its cache or the network. Raises InputError with one sentence."""
    transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except GatedRepoError:
        raise InputError(
            f"{name} is given only to those who accept its terms: do so on its page, then log in"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(f"there is no folder, no run and no model on the hub called {name}") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as e:
        reason = " ".join(str(e).removeprefix("Got: ").split()).split(" An error happened")[0][:120]
        raise InputError(
            f"{name} is no folder here, and the hub cannot be reached ({reason}); give a folder that holds the model"
        ) from None


def read(path: Path) -> Found:
    """A model that writes text in a folder. Raises InputError when it needs code of its own, when its weights are
    pickled or incomplete, or when its tokenizer is missing."""
    package = transformers()
    config = _checked(path)
    try:
        with quiet():
            settings = package.AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as e:
        raise InputError(f"the model in {path} cannot be read: {_first_line(e)}") from None
    tokenizer = _tokenizer(path)
    serialised = tokenizer.backend_tokenizer.to_str()
    end = next((i for i in (tokenizer.eos_token_id, _one(config.get("eos_token_id"))) if i is not None), None)
    begin = next((i for i in (tokenizer.bos_token_id, _one(config.get("bos_token_id")), end) if i is not None), None)
    pairs = bool(getattr(settings, "is_encoder_decoder", False))
    if pairs:
        begin = _decoder_start(path, config)
    if begin is None or end is None:
        raise InputError(f"the tokenizer in {path} has no sign for the end of a text (eos_token); set one in its files")
    return Found(architecture_of(settings), serialised, int(begin), int(end), _weights(path, pairs))


def _decoder_start(path: Path, config: dict[str, Any]) -> int | None:
    """The id that the decoder starts from: of the settings of generation, of config.json, or padding."""
    try:
        generation = json.loads((path / "generation_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        generation = {}
    places = (*((part, "decoder_start_token_id") for part in (generation, config)), (config, "pad_token_id"))
    return next((i for part, name in places if (i := _one(part.get(name))) is not None), None)


def _one(value: Any) -> int | None:
    """The first of several ids."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) else None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


def _checked(path: Path) -> dict[str, Any]:
    """config.json, after what must not be loaded was refused."""
    for name in ("config.json", "tokenizer_config.json"):
        try:
            data = json.loads((path / name).read_text("utf-8"))
        except FileNotFoundError:
            data = {}
        except (OSError, ValueError) as e:
            raise InputError(f"{path / name} cannot be read: {_first_line(e)}") from None
        if isinstance(data, dict) and data.get("auto_map"):
            raise InputError(
                f"the model in {path} needs code that comes with it ({name} has auto_map), which is never run; take a "
                "model that transformers knows itself"
            )
        if name == "config.json":
            config: dict[str, Any] = data if isinstance(data, dict) else {}
    if not any(path.glob("*.safetensors")):
        pickled = [p.name for pattern in PICKLES for p in sorted(path.glob(pattern))]
        if pickled:
            raise InputError(
                f"the weights in {path} are pickled ({pickled[0]}), which may run anything when read; where you trust "
                "them, load them with transformers and save them with save_pretrained, which writes safetensors"
            )
        raise InputError(f"there are no weights in {path}: a file such as model.safetensors is missing")
    return config


def _tokenizer(path: Path) -> Any:
    """The fast tokenizer of a folder."""
    if not any((path / n).is_file() for n in ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")):
        raise InputError(f"there is no tokenizer in {path} (tokenizer.json); save it there with save_pretrained")
    try:
        with quiet():
            tokenizer = transformers().AutoTokenizer.from_pretrained(
                path, trust_remote_code=False, local_files_only=True, use_fast=True
            )
    except Exception as e:  # what it raises depends on the tokenizer's own code
        raise InputError(f"the tokenizer in {path} cannot be read: {_first_line(e)}") from None
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"the tokenizer in {path} cannot be written as a tokenizer.json; take a model that has one")
    return tokenizer


def _weights(path: Path, pairs: bool) -> dict[str, Tensor]:
    """float32, by name. pairs: of a model that reads sources."""
    package = transformers()
    cls = package.AutoModelForSeq2SeqLM if pairs else package.AutoModelForCausalLM
    try:
        with quiet():
            network, info = cls.from_pretrained(
                path, trust_remote_code=False, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as e:
        raise InputError(f"the weights in {path} cannot be read: {_first_line(e)}") from None
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(f"the weights in {path} are not whole: {len(missing)} are missing, such as {missing[0]}")
    return {n: t.detach() for n, t in network.state_dict().items()}
