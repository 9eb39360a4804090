"""Tests of core.device: the number format is a pure function of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genloom.core import device as devices
from genloom.core.config import TrainConfig


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "maker", "expected"),
    [
        (True, True, "GenuineIntel", "bf16"),
        (False, True, "GenuineIntel", "fp32"),  # slower there than fp32
        (False, True, "AuthenticAMD", "bf16"),
        (False, False, "AuthenticAMD", "fp32"),
        (False, True, None, "fp32"),  # no /proc/cpuinfo
    ],
)
def test_bf16_is_chosen_where_the_cpu_is_faster_in_it(
    amx: bool, avx512_bf16: bool, maker: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    if maker:
        info.write_text(f"processor\t: 0\nvendor_id\t: {maker}\nmodel name\t: x\n")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    gains = devices.cpu_gains_from_bf16.__wrapped__(info)
    monkeypatch.setattr(devices, "cpu_gains_from_bf16", lambda: gains)
    assert devices.choose_precision(TrainConfig(steps=1), torch.device("cpu")) == expected
    for asked in ("fp32", "bf16"):
        assert devices.choose_precision(TrainConfig(steps=1, precision=asked), torch.device("cpu")) == asked
