"""genloom: train, judge and sample generative models on your own data.

>>> import genloom
>>> run = genloom.train("photos/", model="flow", budget="10m")
>>> run.sample(16, label="cat", seed=0)
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.api import inspect, load, plan, train
    from genloom.comparison import Comparison, compare
    from genloom.run import Run

try:
    __version__ = version("genloom")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["Comparison", "Run", "__version__", "compare", "inspect", "load", "plan", "train"]


def __getattr__(name: str) -> Any:
    """The API is imported at its first use: `import genloom` and the command line stay fast without torch."""
    if name == "Run":
        from genloom.run import Run

        return Run
    if name in ("Comparison", "compare"):
        from genloom import comparison

        return getattr(comparison, name)
    if name in __all__:
        from genloom import api

        return getattr(api, name)
    raise AttributeError(f"module 'genloom' has no attribute {name!r}")
