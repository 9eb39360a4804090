"""The networks whose inner values are the features, and how they are trained: with labels, or without.

`B` batch, `C` channels, `D` feature width, `K` classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.feed import Examples
from genloom.core.rng import derive
from genloom.core.spec import Grid
from genloom.nets.blocks import conv

WIDTH = 128
BATCH = 128
LEAST_STEPS, MOST_EPOCHS = 500, 6
BUDGET = 4e11  # multiply-adds of one training, about 20 s on two CPU cores; a count, not a clock, so that runs repeat
PEAK_RATE = 3e-3


class Extractor(nn.Module):
    """Strided convolutions with BatchNorm, then one dense layer: x [B, C, *size] -> [B, D], D = 128.

    The first layer brings the longest axis to at most 16 positions, the others halve it down to at most 7, so the cost
    hardly depends on the resolution. `multiply_adds` is the cost of one example.
    """

    def __init__(self, spec: Grid) -> None:
        super().__init__()
        longest = max(spec.size)
        stride = 1 if longest <= 12 else max(2, 2 ** math.ceil(math.log2(longest / 16)))
        layers: list[nn.Module] = []
        size, width, self.multiply_adds = list(spec.size), spec.channels, 0
        for step, out in _plan(longest, stride):
            kernel = step + 1 if step > 1 else 3
            layers += [conv(spec.axes, width, out, kernel, step, bias=False), _norm(spec.axes, out), nn.ReLU()]
            size = [-(-n // step) for n in size]
            self.multiply_adds += math.prod(size) * width * out * kernel**spec.axes
            width = out
        flat = math.prod(size) * width
        self.multiply_adds += flat * WIDTH
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


def _plan(longest: int, stride: int) -> Iterator[tuple[int, int]]:
    """(stride, width) of every convolution."""
    width = 32
    yield stride, width
    longest = -(-longest // stride)
    while longest > 7:
        longest, width = -(-longest // 2), min(2 * width, 128)
        yield 2, width


def _norm(axes: int, channels: int) -> nn.Module:
    # momentum 0.1: trainings are short, and the running statistics must have settled at their end
    return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1](channels)


class Objective(Protocol):
    """What a training minimises: its own parameters, examples it takes a step and their loss."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    @property
    def passes(self) -> float:
        """Times each example goes through the extractor in a step."""
        ...

    def __call__(self, extractor: Any, batch: Batch, generator: torch.Generator) -> Tensor: ...


class Classification(nn.Module):
    """Cross-entropy on the labels, with dropout on the features and a random shift of each example.

    A further class of noisy and blurred copies was tried and left out: on MNIST, noise of 0.05 that hardly shows then
    cost nearly all precision (.06 instead of .94), so that every generator would have looked worthless.
    """

    passes = 1.0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, extractor: Extractor, batch: Batch, generator: torch.Generator) -> Tensor:
        label = batch.condition.label
        assert label is not None
        features = extractor(shifted(batch.x, 1 / 12, generator))
        return F.cross_entropy(self.head(F.dropout(features, 0.3)), label)


class Contrast(nn.Module):
    """Tells examples apart: two views of an example agree, all others and degraded copies of themselves do not.

    NT-Xent of Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1. Views
    are shifts, brightness and an occluded box, never noise or blur: features must keep seeing those. Noisy and
    blurred copies of a quarter of the examples are further negatives: with none, pixel noise can land among real
    examples (precision .96 on MNIST); with a copy of every example, nothing else counts. A plain autoencoder was not
    taken because a blurred example has nearly the code of the sharp one, so blurred samples would look perfect.
    """

    passes = 2.25
    temperature = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 64))

    def forward(self, extractor: Extractor, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch.x
        n = len(x)
        spoilt = degraded(x[: n // 4], generator)
        views = torch.cat([view(x, generator), view(x, generator), view(spoilt, generator)])
        z = F.normalize(self.head(extractor(views)), dim=1)
        similar = z[: 2 * n] @ z.T / self.temperature
        similar[torch.arange(2 * n), torch.arange(2 * n)] = -torch.inf
        partner = torch.arange(2 * n, device=x.device).roll(n)
        return F.cross_entropy(similar, partner)


def train(
    extractor: nn.Module,
    objective: Objective,
    examples: Examples,
    order: Iterator[NDArray[np.int64]],
    steps: int,
    seed: int,
) -> None:
    """Minimise the objective over `steps` batches of `examples` in the given order; both modules end in eval mode."""
    device = next(extractor.parameters()).device
    generator = torch.Generator().manual_seed(derive(seed, "features", "views"))
    parameters = [*extractor.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(parameters, PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, steps)
    extractor.train()
    for _ in range(steps):
        loss = objective(extractor, examples.batch(next(order)).to(device), generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    extractor.eval()


def steps_for(multiply_adds: float, n: int, batch: int = BATCH, budget: float | None = None) -> int:
    """Number of steps: several epochs within the budget of computation (BUDGET if None), never so few that nothing is
    learnt. multiply_adds: cost of an example in one step."""
    afford = (BUDGET if budget is None else budget) / (3 * multiply_adds * batch)
    return int(max(LEAST_STEPS / 4, min(max(LEAST_STEPS, MOST_EPOCHS * n / batch), afford)))


def batches(n: int, labels: NDArray[np.int64] | None, seed: int, size: int = BATCH) -> Iterator[NDArray[np.int64]]:
    """Endless batches of indices below n: epochs in random order, or classes equally often if imbalanced."""
    generator = np.random.Generator(np.random.PCG64(derive(seed, "features", "order")))
    counts = np.bincount(labels) if labels is not None else np.ones(1)
    present = counts[counts > 0]
    if labels is not None and present.max() > 1.5 * present.min():
        weights = 1.0 / counts[labels]
        while True:
            yield generator.choice(n, min(size, n), p=weights / weights.sum())
    while True:
        order = generator.permutation(n)
        for i in range(0, max(1, n - size + 1), size):
            yield order[i : i + size]


# -- changes of a batch x [B, C, *size] ------------------------------------------------------------------------------


def shifted(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Each example moved along every axis by up to `share` of its size; the edge values fill what comes into sight."""
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        reach = max(1, round(share * size)) if size > 2 else 0
        offsets = torch.randint(-reach, reach + 1, (len(x), 1), generator=generator).to(x.device)
        places = (torch.arange(size, device=x.device) + offsets).clamp(0, size - 1)
        shape = [len(x), *[1] * (axis - 1), size, *[1] * (x.ndim - axis - 1)]
        x = x.gather(axis, places.view(shape).expand_as(x))
    return x


def view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shifted by up to a sixth, brightened or darkened by up to 20%, one box of up to half of every axis hidden."""
    x = shifted(x, 1 / 6, generator)
    each = [len(x), *[1] * (x.ndim - 1)]
    x = x * (0.8 + 0.4 * torch.rand(each, generator=generator).to(x.device))
    hidden = torch.ones(each, dtype=torch.bool, device=x.device)
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        length = torch.rand(each, generator=generator).to(x.device) * size / 2
        start = torch.rand(each, generator=generator).to(x.device) * (size - length)
        shape = [1] * x.ndim
        shape[axis] = size
        place = torch.arange(size, device=x.device).view(shape)
        hidden = hidden & (place >= start) & (place < start + length)
    mean = x.mean(tuple(range(2, x.ndim)), keepdim=True)
    return torch.where(hidden, mean, x)


def degraded(x: Tensor, generator: torch.Generator) -> Tensor:
    """One half with white noise of up to 0.5, the other smoothed once to three times."""
    half = len(x) // 2
    strength = 0.05 + 0.45 * torch.rand([half, *[1] * (x.ndim - 1)], generator=generator)
    noise = strength * torch.randn(x[:half].shape, generator=generator)
    times = int(torch.randint(1, 4, (), generator=generator))
    return torch.cat([x[:half] + noise.to(x.device), smoothed(x[half:], times)])


def smoothed(x: Tensor, times: int) -> Tensor:
    """Averaged with the two neighbours along every axis (weights 1, 2, 1), `times` over."""
    for _ in range(times):
        for axis in range(2, x.ndim):
            size = x.shape[axis]
            place = torch.arange(size, device=x.device)
            before, after = (
                x.index_select(axis, (place - 1).clamp(min=0)),
                x.index_select(axis, (place + 1).clamp(max=size - 1)),
            )
            x = (before + 2 * x + after) / 4
    return x
