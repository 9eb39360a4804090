"""An independent judge of generated MNIST digits: a classifier of its own, not genloom's figures.

Trained once on the training images (a fixed seed, about a minute on one core) and kept in the cache folder. Frechet
distance, precision, recall, density and coverage are taken in its 128 features before the decision, against the 10,000
test images; real training images give the level that a perfect generator would reach.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.config import DataConfig
from genloom.data.prepare import prepare
from genloom.metrics.frechet import Gaussian, frechet_distance
from genloom.metrics.manifold import manifold

CACHE = Path(os.environ.get("GENLOOM_CACHE", Path.home() / ".cache" / "genloom")) / "benchmark-judge.pt"


class Classifier(nn.Module):
    """Four convolutions with BatchNorm, 128 features, 10 classes; x [B, 1, 28, 28] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((1, 32, 1), (32, 32, 2), (32, 64, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU())
        self.classes = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(F.dropout(self.features((x + 1) / 2), 0.3, self.training))


class Judge:
    def __init__(self) -> None:
        data = prepare("mnist", "image", {}, DataConfig())
        self.train = torch.cat([b.x for part in (data.train, data.validation) for b in part.batches(1000)])
        self.train_labels = torch.from_numpy(np.concatenate([data.train.labels, data.validation.labels]))
        self.net = Classifier()
        if CACHE.exists():
            self.net.load_state_dict(torch.load(CACHE, weights_only=True))
        else:
            self._fit()
            CACHE.parent.mkdir(parents=True, exist_ok=True)
            torch.save(self.net.state_dict(), CACHE)
        self.net.eval()
        test = torch.cat([b.x for b in data.test.batches(1000)])
        labels = torch.from_numpy(data.test.labels)
        self.test = self.features(test)
        with torch.no_grad():
            right = torch.cat([self.net(x).argmax(1) for x in test.split(500)]) == labels
        self.accuracy = float(right.float().mean())

    def _fit(self, epochs: int = 3, batch: int = 128) -> None:
        torch.manual_seed(7)
        steps = epochs * len(self.train) // batch
        optimiser = torch.optim.Adam(self.net.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps + 1)
        order = torch.cat([torch.randperm(len(self.train)) for _ in range(epochs + 1)])
        self.net.train()
        for i in range(steps):
            rows = order[i * batch : (i + 1) * batch]
            optimiser.zero_grad()
            F.cross_entropy(self.net(self.train[rows]), self.train_labels[rows]).backward()
            optimiser.step()
            schedule.step()

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.net.features((part + 1) / 2) for part in x.split(500)])

    def real(self, n: int = 5000) -> dict[str, Any]:
        """The figures of n real training images."""
        rows = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))[:n]
        return self.judge(self.train[rows], self.train_labels[rows])

    def judge(self, x: Tensor, labels: Tensor | None) -> dict[str, Any]:
        """Figures of samples x [N, 1, 28, 28] in [-1, 1] that were asked to show `labels` (None: nothing was
        asked), rounded as in files. k = 5 neighbours."""
        x = as_bytes(x).float() / 127.5 - 1
        seen = self.features(x)
        with torch.no_grad():
            guess = torch.cat([self.net.classes(f).argmax(1) for f in seen.split(1000)])
        shares = torch.bincount(guess, minlength=10).double() / len(guess)
        test, fake = self.test.numpy(), seen.numpy()
        n = min(len(fake), len(test))
        balls = manifold(test[:n], fake[:n], k=5)
        return {
            "frechet": round(frechet_distance(Gaussian.fit(test), Gaussian.fit(fake)), 3),
            "precision": round(balls.precision, 4),
            "recall": round(balls.recall, 4),
            "density": round(balls.density, 4),
            "coverage": round(balls.coverage, 4),
            "class_entropy": round(float(-(shares * shares.clamp(min=1e-12).log()).sum()), 4),
            "classes_present": int((shares > 0).sum()),
            "label_agreement": None if labels is None else round(float((guess == labels).double().mean()), 4),
            "exact_copies": self.copies(x),
            "n": len(x),
        }

    def copies(self, x: Tensor) -> int:
        """Samples that equal a training image in every pixel."""
        known = {t.numpy().tobytes() for t in as_bytes(self.train)}
        return sum(t.numpy().tobytes() in known for t in as_bytes(x))


def as_bytes(x: Tensor) -> Tensor:
    """[-1, 1] to 0..255."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
