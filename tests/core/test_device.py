"""Tests of core.device: the number format is a pure function of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from genloom.core import device as devices
from genloom.core.config import TrainConfig


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "maker", "convolutions", "products"),
    [
        (True, True, "GenuineIntel", "bf16", "bf16"),
        (False, True, "GenuineIntel", "fp32", "bf16"),  # convolutions are slower there than in fp32
        (False, True, "AuthenticAMD", "bf16", "bf16"),
        (False, False, "AuthenticAMD", "fp32", "fp32"),
        (False, True, None, "fp32", "bf16"),  # no /proc/cpuinfo
    ],
)
def test_bf16_is_chosen_where_the_cpu_is_faster_in_it(
    amx: bool,
    avx512_bf16: bool,
    maker: str | None,
    convolutions: str,
    products: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = tmp_path / "cpuinfo"
    if maker:
        info.write_text(f"processor\t: 0\nvendor_id\t: {maker}\nmodel name\t: x\n")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    gains = devices.cpu_gains_from_bf16.__wrapped__
    monkeypatch.setattr(devices, "cpu_gains_from_bf16", lambda convolves: gains(convolves, info))
    config, cpu = TrainConfig(steps=1), torch.device("cpu")
    for network, expected in ((nn.Conv2d(1, 1, 3), convolutions), (nn.Linear(2, 2), products)):
        assert devices.choose_precision(config, cpu, [network]) == expected
        for asked in ("fp32", "bf16"):
            assert devices.choose_precision(TrainConfig(steps=1, precision=asked), cpu, [network]) == asked
