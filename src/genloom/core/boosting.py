"""Boosted trees of LightGBM, imported when they are needed."""

from __future__ import annotations

from typing import Any

from genloom.core.errors import InputError


def lightgbm() -> Any:
    """The package. Raises InputError where it is missing."""
    try:
        import lightgbm
    except (ModuleNotFoundError, OSError):  # OSError: without the system's OpenMP
        raise InputError("boosted trees need: pip install 'genloom[table]'") from None
    return lightgbm
