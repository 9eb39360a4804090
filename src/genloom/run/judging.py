"""What an evaluation takes from the run it belongs to: what training cost, and pictures of the worst pairs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from genloom.core.modality import Modality
from genloom.core.run import WEIGHTS
from genloom.evaluate.cost import cost_of
from genloom.evaluate.evaluation import Evaluation
from genloom.run.generate import save_shown

PAIRS = "copies"


def with_run(evaluation: Evaluation, manifest: Mapping[str, Any], train: Mapping[str, Any]) -> Evaluation:
    """The evaluation with what training cost beside what drawing cost and the digest of the weights it is of; a run of
    another version is told."""
    drawing = (evaluation.cost or {}).get("sampling")
    trained, judged = (manifest.get("versions") or {}).get("genloom"), version("genloom")
    other = () if trained in (None, judged) else (f"trained with genloom {trained}, judged with genloom {judged}",)
    return replace(
        evaluation,
        cost=cost_of(manifest, train, drawing),
        samples={**evaluation.samples, "weights": manifest.get("files", {}).get(WEIGHTS)},
        notices=(*evaluation.notices, *other),
    )


def with_pictures(
    evaluation: Evaluation, folder: Path, modality: Modality[Any], shown: Sequence[tuple[Tensor, Tensor]]
) -> Evaluation:
    """Write each pair (sample, training example) as a picture into `folder`/copies and name it in the evaluation."""
    target = folder / PAIRS
    shutil.rmtree(target, ignore_errors=True)
    if not shown or evaluation.copying is None:
        return evaluation
    target.mkdir(parents=True, exist_ok=True)
    pairs = []
    for i, (pair, both) in enumerate(zip(evaluation.copying["pairs"], shown, strict=True)):
        path = save_shown(modality.show([modality.decode(x) for x in both], 2), target / f"{i:02d}")
        pairs.append({**pair, "picture": f"{folder.name}/{PAIRS}/{path.name}"})
    return replace(evaluation, copying={**evaluation.copying, "pairs": pairs})
