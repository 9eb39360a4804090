"""Feature spaces learnt from the training split: a classifier where there are labels, an encoder elsewhere. Cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.device import choose_device
from genloom.core.errors import GenloomError, InputError
from genloom.core.feed import Examples
from genloom.core.files import write_atomic
from genloom.core.rng import derive
from genloom.core.spec import Grid, Tokens, spec_to_json
from genloom.data.catalog import cache_root
from genloom.evaluate import networks, sequence_networks
from genloom.evaluate.contracts import Data, FeatureSpace, Remembers
from genloom.evaluate.networks import WIDTH, Classification, Contrast, Extractor
from genloom.evaluate.passages import pieces, tokens_of
from genloom.evaluate.sequence_networks import ROW, Reading, SequenceExtractor

VERSION = 1  # raise when the features of the same data would come out differently
CHUNK = 250  # examples that go through the network at a time
MOST_SCALED = 10_000  # training examples that centre and scale are taken from
LEAST_PER_CLASS = 8  # training examples a class needs on average for a classifier to be worth more than an encoder


@dataclass(frozen=True)
class Facts:
    """What is known of learnt features. accuracy: share of held-out examples named rightly, None for an encoder."""

    kind: Literal["classifier", "encoder"]
    classes: int
    steps: int
    accuracy: float | None
    held_out: int
    seed: int


class EncoderFeatures(nn.Module):
    """Features of a network trained on the training split: [B, ...] -> [B, 128].

    They are centred on the training data and scaled by one number so that its total variance is the width. So the
    Frechet distance of a single repeated average is about the width, whatever the data and the seed.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, spec: Grid | Tokens, facts: Facts) -> None:
        super().__init__()
        self.spec, self.facts, self.width = spec, facts, WIDTH
        self.extractor = Extractor(spec) if isinstance(spec, Grid) else SequenceExtractor(spec)
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(()))

    @property
    def name(self) -> str:
        return f"encoder trained without labels on the training split, {WIDTH} values"

    @property
    def digest(self) -> str:
        """Of its weights: figures of equal digests were measured in the same space."""
        tensors = {n: t.detach().cpu().contiguous() for n, t in self.state_dict().items()}
        return hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        out = [self.extractor(x[i : i + CHUNK].to(self.centre.device)) for i in range(0, len(x), CHUNK)]
        return ((torch.cat(out) - self.centre) * self.scale).cpu()

    def standardise(self, features: Tensor) -> None:
        """Take centre and scale from features [N, D] of training examples, measured while both are neutral."""
        spread = features.var(0).mean().sqrt() if len(features) > 1 else torch.zeros(())
        self.centre.copy_(features.mean(0))
        self.scale.copy_(1 / spread if spread > 0 else torch.ones(()))


class ClassifierFeatures(EncoderFeatures):
    """The inner values of a classifier, with its decision on top."""

    def __init__(self, spec: Grid | Tokens, facts: Facts) -> None:
        super().__init__(spec, facts)
        self.head = nn.Linear(WIDTH, facts.classes)

    @property
    def name(self) -> str:
        rate = "" if self.facts.accuracy is None else f", {self.facts.accuracy:.1%} right on held-out data"
        return f"classifier trained on the training split, {WIDTH} values before its decision{rate}"

    @torch.no_grad()
    def classify(self, features: Tensor) -> Tensor:
        """[B, 128] features -> [B] int64 class indices."""
        raw = features.to(self.centre.device) / self.scale + self.centre
        chosen: Tensor = self.head(raw).argmax(1).cpu()
        return chosen


_KINDS: dict[str, type[EncoderFeatures]] = {"classifier": ClassifierFeatures, "encoder": EncoderFeatures}


def features_for(
    data: Data, *, seed: int = 0, cache: Path | None = None, notify: Callable[[str], None] = lambda _: None
) -> FeatureSpace:
    """The feature space of the data, from the cache or newly trained (some 20 s on two cores).

    A pure function of the data, the seed and the machine. cache: the folder for features, by default `features` in
    genloom's cache. Raises InputError for data that is neither a grid nor tokens.
    """
    spec = data.modality.spec
    if not isinstance(spec, Grid | Tokens):
        raise InputError(
            f"quality figures need examples on a grid, such as images, or sequences; {data.name} is "
            f"{type(spec).__name__}"
        )
    path = (cache or features_folder()) / f"{_key(data, seed)}.safetensors"
    known = _load(path, spec)
    if known is not None:
        return known
    kind = choose_kind(data.train.labels) if isinstance(spec, Grid) else "encoder"
    notify(f"learning the features to judge by from {data.name} (once; kept for later)")
    features = learn(data, spec, kind, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _bytes(features))
    except (OSError, GenloomError) as e:
        notify(f"the features could not be kept for later: {e}")
    return features


def choose_kind(labels: NDArray[np.int64] | None) -> Literal["classifier", "encoder"]:
    """A classifier where two classes or more have enough examples to learn from."""
    if labels is None:
        return "encoder"
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return "classifier" if len(counts) >= 2 and counts.mean() >= LEAST_PER_CLASS else "encoder"


def learn(data: Data, spec: Grid | Tokens, kind: Literal["classifier", "encoder"], seed: int) -> EncoderFeatures:
    """Train a feature space on data.train; of sequences on pieces of it, without their classes. The caller's random
    state is left as it was."""
    labels = data.train.labels
    classes = len(data.condition.classes) if kind == "classifier" else 0
    device = choose_device("auto")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "features", "init"))
        features = _KINDS[kind](spec, Facts(kind, classes, 0, None, 0, seed))
        examples: Examples = data.train
        size, budget = networks.BATCH, networks.BUDGET
        if isinstance(spec, Tokens):
            examples = pieces(tokens_of(data.train, spec), ROW)
            size, budget = sequence_networks.BATCH, sequence_networks.BUDGET
            objective: Classification | Contrast | Reading = Reading(spec)
        else:
            objective = Classification(classes) if kind == "classifier" else Contrast()
        if isinstance(features, ClassifierFeatures) and isinstance(objective, Classification):
            features.head = objective.head
        features.to(device)
        objective.to(device)
        steps = networks.steps_for(features.extractor.multiply_adds * objective.passes, len(examples), size, budget)
        order = networks.batches(len(examples), labels if kind == "classifier" else None, seed, size)
        networks.train(features.extractor, objective, examples, order, steps, seed)
    features.eval().requires_grad_(False)
    features.standardise(features_of(features, examples, limit=MOST_SCALED, seed=seed)[0].to(device))
    accuracy, n = _accuracy(features, data)
    features.facts = Facts(kind, classes, steps, accuracy, n, seed)
    return features


def _accuracy(features: EncoderFeatures, data: Data) -> tuple[float | None, int]:
    """Share of the validation split (the test split if that is empty) classified rightly, and its size."""
    held_out = data.validation if len(data.validation) else data.test
    if not isinstance(features, ClassifierFeatures) or not len(held_out):
        return None, 0
    values, labels = features_of(features, held_out, limit=MOST_SCALED, seed=0)
    assert labels is not None
    return float((features.classify(values) == labels).float().mean()), len(values)


def features_of(space: FeatureSpace, examples: Examples, *, limit: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Features [N, D] and labels [N] (None without) of all examples in random order, or of `limit` drawn ones; of
    none where there are none."""
    values, labels = [torch.zeros(0, space.width)], []
    for batch in drawn(examples, limit, seed):
        values.append(of_real(space, batch.x))
        if batch.condition.label is not None:
            labels.append(batch.condition.label)
    return torch.cat(values), torch.cat(labels) if labels else None


def of_real(space: FeatureSpace, x: Tensor) -> Tensor:
    """Features of examples of the data; they may be kept for later."""
    return space.of_real(x) if isinstance(space, Remembers) else space(x)


def drawn(examples: Examples, limit: int, seed: int) -> Iterator[Batch]:
    """At most `limit` different examples in random order: files lie sorted by class, blocks of rows must not."""
    order = np.random.Generator(np.random.PCG64(derive(seed, "drawn"))).permutation(len(examples))[:limit]
    return (examples.batch(order[i : i + CHUNK]) for i in range(0, len(order), CHUNK))


# -- cache ------------------------------------------------------------------------------


def features_folder() -> Path:
    """Where learnt features are kept."""
    return cache_root() / "features"


def _key(data: Data, seed: int) -> str:
    parts = [VERSION, data.digest, spec_to_json(data.modality.spec), len(data.condition.classes), seed]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _bytes(features: EncoderFeatures) -> bytes:
    tensors = {n: t.detach().cpu().contiguous() for n, t in features.state_dict().items()}
    return safetensors.torch.save(tensors, {"facts": json.dumps(asdict(features.facts))})


def _load(path: Path, spec: Grid | Tokens) -> EncoderFeatures | None:
    """The features kept at `path`; None when there are none or the file is damaged (they are then learnt again)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as f:
            facts = Facts(**json.loads(f.metadata()["facts"]))
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dictionary)
        features = _KINDS[facts.kind](spec, facts)
        features.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError):
        return None
    return features.to(choose_device("auto")).eval().requires_grad_(False)
