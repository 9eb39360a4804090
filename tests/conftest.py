"""For all tests: a signing identity of their own, so that none is made in the user's folder, and PyTorch's step of
sequences, so that none is compiled there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def signing_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("identity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLOOM_IDENTITY", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def without_compiled_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLOOM_NATIVE", "0")
        yield
