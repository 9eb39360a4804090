"""Where a training begins that does not begin at random: the weights of a run, or of a model of transformers.

A run gives its settings, the modality's state and its weights; of what has grown since (characters, classes) the rows
that were there are taken over. A folder of transformers, or a name on the hub, gives the same of a pretrained model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genloom.core.batch import ConditionSpec
from genloom.core.config import merge
from genloom.core.errors import InputError
from genloom.core.family import Family
from genloom.core.files import sha256_of
from genloom.core.modality import Continues
from genloom.core.run import CONFIG, WEIGHTS, RunFolder
from genloom.core.spec import Spec, Tokens
from genloom.families import find_family
from genloom.modalities import find_modality
from genloom.nets.lora import merged
from genloom.run import hub
from genloom.run.trained import Run

RUNS = Path("runs")


@dataclass(frozen=True)
class Start:
    """origin: as a person gave it. model, kind: the family and the modality. settings: sections as in RunConfig, under
    what a person sets. state: of the modality. spec: None where the family's weights do not depend on it. digest: of
    the weights."""

    origin: str
    model: str
    kind: str
    settings: Mapping[str, Any]
    state: Mapping[str, Any]
    spec: Spec | None
    condition: ConditionSpec
    weights: Mapping[str, Tensor]
    digest: str

    def layers(self, lora: bool) -> dict[str, Any]:
        """The settings with which to go on. lora: with low-rank changes only. Raises InputError when the family has
        none."""
        cls = find_family(self.model)
        if lora and "lora" not in cls.Config.model_fields:
            raise InputError(f"the model {self.model} has no LoRA; leave --lora out to train all its weights")
        config = cls.Config(**self.settings.get("family", {}))
        return merge(self.settings, cls.tuned(config, self.spec, lora))

    @torch.no_grad()
    def fill(self, family: Family) -> dict[str, Any]:
        """Copy the weights into a family where name and shape agree, and the rows of tables that have grown. Returns
        what was done. Raises InputError when nothing fits."""
        copied, grown, fresh, total = 0, [], [], 0
        for name, own in family.state_dict().items():
            total += own.numel()
            old = self.weights.get(name)
            if old is not None and own.ndim and "label" in name.split(".") and self._fill_classes(own, old, family):
                grown += [name] if old.shape != own.shape else []
            elif old is not None and old.shape == own.shape:
                own.copy_(old)
            elif old is not None and self._fill_rows(own, old, family.spec):
                grown.append(name)
            else:
                fresh.append(name)
                continue
            copied += min(own.numel(), old.numel())
        if not copied:
            raise InputError(
                f"nothing of {self.origin} fits this model: no weight has the same name and shape; leave the settings "
                "of its size as they are"
            )
        return {
            "origin": self.origin, "model": self.model, "weights": self.digest,
            "copied": copied, "parameters": total, "grown": grown, "fresh": fresh,
        }  # fmt: skip

    def _fill_rows(self, own: Tensor, old: Tensor, spec: Spec) -> bool:
        """A table of tokens that has grown: new rows begin as the mean of the others, marks behind all tokens stay
        there."""
        if not isinstance(spec, Tokens) or not isinstance(self.spec, Tokens) or own.shape[1:] != old.shape[1:]:
            return False
        before, more = self.spec.vocab, spec.vocab - self.spec.vocab
        if more <= 0 or not old.ndim or len(own) - len(old) != more or len(old) < before:
            return False
        own[:before], own[before + more :] = old[:before], old[before:]
        own[before : before + more] = old[:before].mean(0)
        return True

    def _fill_classes(self, own: Tensor, old: Tensor, family: Family) -> bool:
        """A table of classes, row by row of the same name; new classes begin as "no class", or as the mean."""
        new, known = family.condition.classes, self.condition.classes
        extra = len(old) - len(known)
        if own.shape[1:] != old.shape[1:] or extra not in (0, 1) or len(own) - len(new) != extra or not known:
            return False
        rows = {name: old[i] for i, name in enumerate(known)}
        other = old[-1] if extra else old.mean(0)
        own.copy_(torch.stack([rows.get(name, other) for name in new] + [other] * extra))
        return True


def open_start(origin: str | Path) -> Start:
    """The start in a run folder, under a run's name in ./runs, in a folder of transformers, or on the hub.

    Raises InputError when there is none, when it is damaged, or when its weights are pickled or need code of its own.
    """
    path = Path(origin)
    if not path.exists() and (RUNS / path / CONFIG).is_file():
        path = RUNS / path
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise InputError(f"{path} is neither a run nor a model of transformers: it has no {CONFIG}")
        config = RunFolder(path).read_json(CONFIG)
        if "kind" in config and "model" in config:
            return _of_run(str(origin), path)
        if "model_type" not in config:
            raise InputError(f"{path} is neither a run nor a model of transformers: its {CONFIG} names no model")
        return _of_folder(str(origin), path)
    if path.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(origin)):
        raise InputError(f"{origin} is no folder; --from takes a run, a folder of transformers or a name on the hub")
    return _of_folder(str(origin), hub.download(str(origin)))


def _of_run(origin: str, path: Path) -> Start:
    run = Run.open(path, "cpu")
    modality_cls = find_modality(run.config.kind)
    settings: dict[str, Any] = {"family": run.config.family.model_dump(mode="json")}
    if "lora" in settings["family"]:  # changes that it has are put into its weights
        settings["family"]["lora"]["rank"] = 0
    settings["family"].pop("teacher", None)
    if not issubclass(modality_cls, Continues):
        settings["modality"] = run.modality.config.model_dump(mode="json")
    return Start(
        origin, run.config.model, run.config.kind, settings, run.modality.state(), run.family.spec, run.condition,
        merged(run.family), run.manifest["files"][WEIGHTS],
    )  # fmt: skip


def _of_folder(origin: str, path: Path) -> Start:
    found = hub.read(path)
    modality_cls: Any = find_modality("text")
    state = modality_cls.of_tokenizer(found.tokenizer).state()
    digest = hashlib.sha256("".join(sha256_of(p) for p in sorted(path.glob("*.safetensors"))).encode()).hexdigest()
    settings = {"family": {"architecture": found.architecture, "begin": found.begin, "end": found.end}}
    weights = {f"model.net.{n}": t for n, t in found.weights.items()}
    return Start(origin, "pretrained", "text", settings, state, None, ConditionSpec(), weights, digest)
