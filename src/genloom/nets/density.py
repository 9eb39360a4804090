"""Densities fitted on codes after the training, so that sampling draws codes from where the data's codes are.

Ghosh et al. 2020, "From variational to deterministic autoencoders": a mixture of Gaussians fitted on the aggregate
posterior.

Shapes: `N` codes, `D` width of a code, `G` groups (classes, or 1), `M` components of a group's mixture.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.config import Settings, setting
from genloom.core.rng import Rng, derive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# a component with a full covariance needs this many examples for each dimension of a code
_EXAMPLES_PER_DIMENSION = 4


class FitConfig(Settings):
    """How a density is fitted on codes after the training."""

    components: int = setting(
        40, "Gaussians with full covariance for each class, fewer where its examples are few.", ge=1
    )
    examples: int = setting(60000, "Examples whose codes are fitted on, drawn at random.", unit="examples", ge=1)


class MixtureDensity(nn.Module):
    """p(z | class): a mixture of Gaussians with full covariances for each class. A standard normal until it is
    fitted.

    Its parameters are buffers of a size known beforehand; a component that is not in use has weight 0.
    """

    share: Tensor  # [G] of the classes in the data
    log_weight: Tensor  # [G, M]
    mean: Tensor  # [G, M, D]
    factor: Tensor  # [G, M, D, D] lower Cholesky factor of the covariance

    def __init__(self, dimensions: int, counts: Sequence[int], components: int) -> None:
        """counts: training examples of each class, empty for data without classes."""
        super().__init__()
        groups = max(1, len(counts))
        self.dimensions, self.components = dimensions, components
        share = torch.tensor(counts or [1], dtype=torch.float32)
        self.register_buffer("share", share / share.sum())
        self.register_buffer("log_weight", torch.full((groups, components), -math.inf))
        self.register_buffer("mean", torch.zeros(groups, components, dimensions))
        self.register_buffer("factor", torch.eye(dimensions).repeat(groups, components, 1, 1))
        self.log_weight[:, 0] = 0

    def fit(self, codes: Tensor, labels: Tensor | None, seed: int) -> None:
        """Fit every class's mixture on codes [N, D] with labels [N]. Classes with few codes get fewer components,
        those with fewer than two the covariance of all. scikit-learn's expectation-maximisation; one Ledoit-Wolf
        Gaussian where there are too few codes for a mixture."""
        groups = len(self.share)
        if labels is None:
            labels = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
        everything = codes.double().cpu().numpy()
        pooled = _gaussian(everything)
        for group in range(groups):
            mine = everything[(labels == group).cpu().numpy()]
            components = min(self.components, len(mine) // (_EXAMPLES_PER_DIMENSION * self.dimensions))
            if components >= 2:
                fitted = _mixture(mine, components, derive(seed, "mixture", group) % 2**32)
            elif len(mine) >= 2:
                fitted = _gaussian(mine)
            else:
                fitted = pooled
            self._store(group, *fitted)

    def _store(
        self, group: int, weights: NDArray[np.float64], means: NDArray[np.float64], covariances: NDArray[np.float64]
    ) -> None:
        used = len(weights)
        covariance = torch.from_numpy(covariances)
        # keeps a degenerate covariance positive definite
        ridge = 1e-4 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1) + 1e-8
        covariance = covariance + ridge[:, None, None] * torch.eye(self.dimensions, dtype=torch.float64)
        self.log_weight[group].fill_(-math.inf)
        self.log_weight[group, :used] = torch.from_numpy(weights).log().to(self.log_weight)
        self.mean[group, :used] = torch.from_numpy(means).to(self.mean)
        self.factor[group, :used] = torch.linalg.cholesky(covariance).to(self.factor)

    def sample(self, n: int, labels: Tensor | None, rng: Rng, temperature: float = 1.0) -> Tensor:
        """[n, D] codes; row i depends on rng's seed, rng.offset + i and its label alone. Without labels the classes
        come in the data's shares. temperature scales the standard deviation of each component."""
        if labels is None:
            labels = self.classes(n, rng)
        component = _pick(self.log_weight.exp()[labels], "component", rng)
        noise = temperature * rng.normal_each("prior", n, self.dimensions)
        return self.mean[labels, component] + torch.einsum("nij,nj->ni", self.factor[labels, component], noise)

    def classes(self, n: int, rng: Rng) -> Tensor:
        """[n] classes in the data's shares."""
        return _pick(self.share.expand(n, -1), "class", rng)

    def log_prob(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """[N] log-density of codes [N, D] in nats, given their class or over all classes in the data's shares."""
        centred = z[None, None] - self.mean[:, :, None]  # [G, M, N, D]
        white = torch.linalg.solve_triangular(self.factor, centred.mT, upper=False)  # [G, M, D, N]
        scale = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # [G, M]
        log = -0.5 * white.square().sum(2) - (scale + 0.5 * self.dimensions * math.log(2 * math.pi))[..., None]
        groups = torch.logsumexp(log + self.log_weight[..., None], 1)  # [G, N]
        if labels is None:
            return torch.logsumexp(groups + self.share.log()[:, None], 0)
        return groups.gather(0, labels[None])[0]


def sparse(data: Iterable[Batch], total: int, wanted: int, seed: int) -> Iterator[Batch]:
    """Of `total` examples in order (0: unknown, all are taken) about `wanted` drawn at random: the cost of a fit does
    not grow with the data.

    Not every n-th one: data sets are often interleaved from several sources (MNIST from two kinds of writers).
    """
    keep = torch.rand(total, generator=torch.Generator().manual_seed(seed)) * total < wanted
    if not total:
        yield from data
        return
    position = 0
    for batch in data:
        rows = keep[position : position + len(batch)].nonzero().squeeze(1)
        position += len(batch)
        if len(rows):
            yield batch[rows.to(batch.x.device)]


def _pick(weight: Tensor, name: str, rng: Rng) -> Tensor:
    """[N] index drawn with probabilities weight [N, K]; never one of weight 0."""
    place = torch.special.ndtr(rng.normal_each(name, len(weight), 1)).to(weight)
    cumulative = weight.cumsum(1)
    return torch.searchsorted(cumulative, place * cumulative[:, -1:]).squeeze(1)


def _gaussian(
    codes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights [1], means [1, D] and covariances [1, D, D] of one Gaussian, shrunk as Ledoit & Wolf 2004 for few
    codes."""
    import numpy as np
    from sklearn.covariance import ledoit_wolf

    if len(codes) < 2:
        return np.ones(1), codes.mean(0, keepdims=True), np.eye(codes.shape[1])[None]
    covariance, _ = ledoit_wolf(codes)
    return np.ones(1), codes.mean(0, keepdims=True), covariance[None]


def _mixture(
    codes: NDArray[np.float64], components: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights [M], means [M, D] and covariances [M, D, D] of a mixture fitted by expectation-maximisation."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        components,
        max_iter=40,
        tol=1e-2,
        reg_covar=1e-3 * float(codes.var(0).mean()) + 1e-8,
        init_params="kmeans",
        random_state=seed,
    )
    with warnings.catch_warnings():
        # the likelihood still rises a little; the time is bounded
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(codes.astype(np.float32))
    return model.weights_.astype(np.float64), model.means_.astype(np.float64), model.covariances_.astype(np.float64)
