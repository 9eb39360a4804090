"""Files of pretrained weights: read without running anything in them, and found where the user keeps them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from genloom.core.errors import InputError

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors or PyTorch file. Raises InputError when it is missing, damaged, or holds
    anything but tensors: what else a pickle could do is never run."""
    if not path.is_file():
        raise InputError(f"there are no weights at {path}; give a file or folder with --features-weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():  # torch tells of old protocols
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is no file of weights, or holds code beside them, which is not run; give the published file or "
            "one in safetensors"
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged or cut short; fetch it again") from None
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise InputError(
            f"{path} holds no named tensors, but {type(found).__name__}; give a file of weights (state_dict)"
        )
    return found


def names_of(path: Path) -> list[str]:
    """The names of the tensors. Raises InputError as `read_tensors`."""
    if path.suffix != ".safetensors" or not path.is_file():
        return list(read_tensors(path))
    try:
        with safe_open(path, framework="pt") as f:
            return list(f.keys())
    except (SafetensorError, OSError):
        raise InputError(f"{path} is damaged or cut short; fetch it again") from None


def files_in(given: Path) -> list[Path]:
    """The files of weights at a path: itself, or those in a folder and in the folders in it.

    Where a folder holds the same in safetensors, its pickled files are passed over. Raises InputError without any.
    """
    if given.is_file():
        return [given]
    if not given.exists():
        raise InputError(f"there are no weights at {given}; give a file or folder with --features-weights")
    found = [f for folder in (given, *_folders(given)) for f in _weights(folder)]
    if not found:
        raise InputError(f"{given} holds no weights ({', '.join(ENDINGS)}); put the file there")
    return found


def _folders(given: Path) -> list[Path]:
    return sorted(p for p in given.iterdir() if p.is_dir())


def _weights(folder: Path) -> Iterator[Path]:
    files = sorted(p for p in folder.iterdir() if p.suffix in ENDINGS and p.is_file())
    converted = (folder / "model.safetensors").is_file()
    yield from (f for f in files if not (converted and f.name == "pytorch_model.bin"))


def misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """The first way in which given tensors differ in name or shape from those wanted, or an empty text."""
    for name, tensor in wanted.items():
        if name not in given:
            return f"{name} is missing"
        if given[name].shape != tensor.shape:
            return f"{name} is {list(given[name].shape)}, not {list(tensor.shape)}"
    more = [n for n in given if n not in wanted]
    return f"{more[0]} is unknown" if more else ""
