"""Which device, number format and memory layout a training uses."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Family
from genloom.core.spec import Grid

Precision = Literal["fp32", "bf16"]


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory that freed tensors leave instead of giving it back to the kernel at once.

    By default every large activation is mapped and unmapped each step; the page faults took up to a quarter of the
    time of small convolutional nets on a CPU (docs/log.md). Does nothing with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names of mallopt(3)
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, 2**30)
        mallopt(top_pad, 2**26)
        mallopt(mmap_threshold, 2**25)  # the largest value that glibc accepts


def choose_device(name: str) -> torch.device:
    """The torch device for "auto" or a device name. Raises InputError when it is not there."""
    keep_freed_memory()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"train.device must be auto, cpu, cuda, cuda:N or mps, got {name!r}") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise InputError(f"this machine has no device {name!r}; use train.device=auto")
    return device


def device_of(module: nn.Module) -> torch.device:
    """Where its tensors lie: its parameters, or buffers where it has none."""
    return next(chain(module.parameters(), module.buffers())).device


def choose_precision(config: TrainConfig, device: torch.device, networks: Sequence[nn.Module]) -> Precision:
    """bf16 where the hardware multiplies it faster than fp32. A pure function of the machine and the networks that are
    trained, so that runs repeat."""
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type != "cpu":
        return "fp32"
    convolves = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for net in networks for m in net.modules())
    return "bf16" if cpu_gains_from_bf16(convolves) else "fp32"


@functools.cache
def cpu_gains_from_bf16(convolves: bool, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU trains small nets faster in bf16 than in fp32.

    Measured (docs/log.md): convolutions with AMX tiles 1.4 times faster; with AVX-512 BF16 alone 1.3 to 1.5 times
    faster on AMD's Zen 4, whose units do twice as many multiplications in it, and 1.3 times slower on Intel's. Matrix
    products alone are 2.7 times faster with AVX-512 BF16.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    if not convolves:
        return True
    try:
        maker = re.search(r"^vendor_id\s*: (\S+)", cpuinfo.read_text("utf-8"), re.MULTILINE)
    except OSError:  # not Linux
        return False
    return maker is not None and maker[1] == "AuthenticAMD"


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def place(family: Family, config: TrainConfig, device: torch.device) -> None:
    """Move a family to its device and memory layout: the one of `train.layout`, which "auto" makes channels_last on
    CUDA, where convolutions use it; on CPUs GroupNorm loses more than convolutions gain (docs/log.md)."""
    family.to(device)
    last = config.layout == "channels_last" or (config.layout == "auto" and device.type == "cuda")
    if last and isinstance(family.spec, Grid) and family.spec.axes == 2:
        family.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process has held at most: on the accelerator if there is one, else in main memory; None where the
    system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
