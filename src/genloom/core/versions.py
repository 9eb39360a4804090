"""Versions of what decides a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    out = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("genloom", "torch", "numpy", "scikit-learn", "pillow", "transformers"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out
