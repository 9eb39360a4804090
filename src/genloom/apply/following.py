"""Texts that follow from sources: translations, summaries, replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from genloom.core.batch import ConditionSpec
from genloom.core.errors import InputError
from genloom.core.tasks import decoding

Notify = Callable[[str], None]

VERBS = {"translate": "translate", "summarise": "summarise", "chat": "chat with"}


class Follows(Protocol):
    """A model whose samples follow from sources: `genloom.run.Run` is one."""

    condition: ConditionSpec

    @property
    def name(self) -> str: ...

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        source: Any = None,
        notify: Notify = ...,
    ) -> list[Any]:
        """n examples; the i-th follows from source[i]."""
        ...  # fmt: skip


def check_task(model: Follows, task: str) -> None:
    """Raise InputError when the model was trained for something else."""
    source = model.condition.source
    if source is None:
        raise InputError(f"{model.name} was trained without sources; train a model with --task {task}")
    if source.task != task and (source.task or task == "chat"):
        trained = f"was trained with --task {source.task}" if source.task else "was not trained on conversations"
        raise InputError(f"{model.name} {trained}; to {VERBS[task]} it, train it with --task {task}")


def follow(
    model: Follows,
    task: str,
    sources: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    notify: Notify = lambda _: None,
) -> list[str]:
    """What follows from each source, in their order; of a blank one nothing. Raises InputError.

    Sources of like length are decoded together: beams and greedy choices do not depend on that, and a batch then ends
    when all of it does.
    """
    check_task(model, task)
    for i, source in enumerate(sources):
        if not isinstance(source, str):
            raise InputError(f"source {i} is {type(source).__name__}, not text")
    there = [i for i, s in enumerate(sources) if s.strip()]
    out = [""] * len(sources)
    if not there:
        return out
    there.sort(key=lambda i: len(sources[i]))
    texts = model.sample(
        len(there), seed=seed, options=decoding(task, options), source=[sources[i] for i in there], notify=notify
    )
    for i, text in zip(there, texts, strict=True):
        out[i] = str(text)
    return out
