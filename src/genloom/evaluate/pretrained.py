"""Feature spaces of images by networks that others trained: which one, where its weights are, and what is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from genloom.core.device import choose_device
from genloom.core.errors import GenloomError, InputError
from genloom.core.files import sha256_of, write_atomic
from genloom.core.spec import Grid, Spec, spec_to_json
from genloom.data.catalog import cache_root
from genloom.evaluate import dinov2, inception
from genloom.evaluate.contracts import Data
from genloom.evaluate.dinov2 import Dinov2
from genloom.evaluate.features import features_folder
from genloom.evaluate.inception import InceptionV3
from genloom.evaluate.weights import files_in, names_of, read_tensors

Kind = Literal["inception", "dinov2"]
KINDS = ("learned", "inception", "dinov2")
VARIABLE = "GENLOOM_FEATURES"

VERSION = 1  # raise when the same image would have other features
CHUNK = 32  # images that go through a network at a time
MOST_KEPT = 50_000  # real examples of a data set whose features are kept


class Network(Protocol):
    """Images [B, 3, H, W] of values 0 to 255 to features [B, width]."""

    width: int

    @property
    def title(self) -> str: ...

    def __call__(self, pixels: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Origin:
    """Where pretrained features come from. weights: sha256 of the file. published: it is the file that FIDs are
    published with; None where there is no such custom."""

    kind: Kind
    weights: str
    file: str
    published: bool | None


class PretrainedFeatures:
    """Features of images by a pretrained network. What was once computed is not computed again: a file in the cache
    holds the features of real examples, by digests of their values."""

    def __init__(self, network: nn.Module, origin: Origin, kept: Path, notify: Callable[[str], None]) -> None:
        self.device = choose_device("auto")
        self.network = network.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.facts, self.kept, self.notify = origin, kept, notify
        self.width: int = network.width  # type: ignore[assignment]
        self.known: dict[bytes, NDArray[np.float32]] = _kept(kept, self.width)
        self.real = dict.fromkeys(self.known)
        self.saved = len(self.real)

    @property
    def name(self) -> str:
        digest = f"weights {self.facts.weights[:12]}"
        if self.facts.kind == "inception":
            digest += ", the published file" if self.facts.published else ", not the published file"
        return f"{self.network.title}, {self.width:,} values ({digest})"

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in [-1, 1] -> [B, width] float32 on the CPU."""
        return self._features(x, _digests(x))

    def of_real(self, x: Tensor) -> Tensor:
        """The same of examples of the data, whose features are worth keeping."""
        digests = _digests(x)
        self.real.update(dict.fromkeys(digests))
        return self._features(x, digests)

    def _features(self, x: Tensor, digests: list[bytes]) -> Tensor:
        new = {d: i for i, d in enumerate(digests) if d not in self.known}
        rows = list(new.values())
        for i in range(0, len(rows), CHUNK):
            part = x[torch.tensor(rows[i : i + CHUNK])].to(self.device)
            with torch.no_grad():
                values = self.network(as_pixels(part)).float().cpu().numpy()
            self.known.update(zip([digests[r] for r in rows[i : i + CHUNK]], values, strict=True))
        return torch.from_numpy(
            np.stack([self.known[d] for d in digests]) if digests else np.zeros((0, self.width), "f")
        )

    def save(self) -> None:
        """Keep what was computed of real examples. That it could not be kept is only told."""
        chosen = list(self.real)[:MOST_KEPT]
        if len(chosen) <= self.saved:
            return
        digests = np.frombuffer(b"".join(chosen), np.uint8).reshape(len(chosen), -1)
        document = safetensors.numpy.save({"digests": digests, "features": np.stack([self.known[d] for d in chosen])})
        try:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.kept, document)
            self.saved = len(chosen)
        except (OSError, GenloomError) as e:
            self.notify(f"the features could not be kept for later: {e}")


def as_pixels(x: Tensor) -> Tensor:
    """x [B, C, H, W] in [-1, 1], C = 1, 3 or 4 (with transparency, shown on white) -> [B, 3, H, W], whole numbers 0 to
    255 as float32."""
    x = x.float()
    if x.shape[1] == 4:
        opaque = (x[:, 3:] + 1) / 2
        x = x[:, :3] * opaque + 1 - opaque
    return ((x + 1) * 127.5).round().clamp(0, 255).expand(-1, 3, -1, -1)


def _digests(x: Tensor) -> list[bytes]:
    rows = x.detach().float().cpu().contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _kept(path: Path, width: int) -> dict[bytes, NDArray[np.float32]]:
    """The features kept at `path`, by digest; none when there are none or the file is damaged."""
    try:
        found = safetensors.numpy.load_file(path)
        digests, features = found["digests"], found["features"]
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}
    if features.shape != (len(digests), width):
        return {}
    return {d.tobytes(): f for d, f in zip(digests, features, strict=True)}


# -- which features ------------------------------------------------------------------------------


def pretrained_for(
    data: Data,
    kind: str | None = None,
    weights: Path | None = None,
    *,
    notify: Callable[[str], None] = lambda _: None,
    cache: Path | None = None,
) -> PretrainedFeatures | None:
    """The pretrained feature space that is asked for, or None: then features are learnt from the data.

    kind: "inception", "dinov2", "learned", or None for what is at hand: `weights`, a file or folder, else
    $GENLOOM_FEATURES, else none. cache: the folder for features. Raises InputError for data that is no image and for
    weights that are missing, damaged or of another network; GenloomError when they cannot be downloaded.
    """
    if kind not in (None, *KINDS):
        raise InputError(f"there are no features {kind}; there are {', '.join(KINDS)}")
    if kind == "learned":
        if weights is not None:
            raise InputError("learned features take no weights; leave --features-weights or --features learned out")
        return None
    configured = os.environ.get(VARIABLE)
    asked = kind is not None or weights is not None
    if not asked and (not configured or not shows_images(data.modality.spec)):
        return None
    if not shows_images(data.modality.spec):
        raise InputError(
            f"the features inception and dinov2 are for images, but {data.name} is {type(data.modality.spec).__name__}"
            "; leave --features out to judge by features learnt from it"
        )
    place = weights if weights is not None else Path(configured).expanduser() if configured else None
    found, path = located(place, kind) if place is not None else fetched(kind, notify)
    tensors = read_tensors(path)
    network = (InceptionV3 if found == "inception" else Dinov2).from_tensors(tensors, path)
    digest = sha256_of(path)
    published = digest.startswith(inception.PUBLISHED) if found == "inception" else None
    origin = Origin(found, digest, path.name, published)
    kept = (cache or features_folder()) / f"{found}-{_key(data, origin, path)}.safetensors"
    space = PretrainedFeatures(network, origin, kept, notify)
    notify(f"judging by {space.name}")
    return space


def shows_images(spec: Spec) -> bool:
    """Two axes, 1, 3 or 4 channels, values in levels as pixels have them."""
    return isinstance(spec, Grid) and len(spec.size) == 2 and spec.channels in (1, 3, 4) and spec.levels is not None


def layout(names: list[str]) -> Kind | None:
    """The network that tensors of these names belong to."""
    known = set(names)
    if known.issuperset(inception.MARKS):
        return "inception"
    hub = {n.removeprefix("dinov2.") for n in names}
    return "dinov2" if known.issuperset(dinov2.ORIGINAL) or hub.issuperset(dinov2.HUB) else None


def located(place: Path, kind: str | None) -> tuple[Kind, Path]:
    """The network and the one file of its weights at a path. Raises InputError for none, or for several."""
    files, damaged = files_in(place), []
    found: dict[Path, Kind] = {}
    for path in files:
        try:
            known = layout(names_of(path))
        except InputError as e:
            damaged.append(e)
            continue
        if known is not None and kind in (None, known):
            found[path] = known
    if not found:
        if damaged:
            raise damaged[0]
        how = dinov2.HOW if kind == "dinov2" else inception.HOW
        raise InputError(f"{place} holds no weights of {kind or 'inception or dinov2'} in a known layout; {how}")
    if len(found) > 1:
        names = ", ".join(str(p.relative_to(place)) for p in found)
        raise InputError(f"{place} holds several weights ({names}); name one file with --features-weights")
    ((path, known_kind),) = found.items()
    return known_kind, path


def fetched(kind: str | None, notify: Callable[[str], None]) -> tuple[Kind, Path]:
    """The weights in the cache, downloaded if they are not there."""
    return ("dinov2", _from_hub(notify)) if kind == "dinov2" else ("inception", _downloaded(notify))


def _downloaded(notify: Callable[[str], None]) -> Path:
    path = weights_folder() / inception.URL.rsplit("/", 1)[-1]
    if not path.is_file():
        notify("fetching the weights of Inception v3 (95 MB, once)")
        _download([inception.URL], path.parent, inception.PUBLISHED)
    return path


def _from_hub(notify: Callable[[str], None]) -> Path:
    """The small one. huggingface_hub says the address (a mirror, if one is configured); its own download would try for
    half a minute without a network."""
    folder = weights_folder() / dinov2.REPOSITORY.rsplit("/", 1)[-1]
    path = folder / "model.safetensors"
    if not path.is_file():
        try:
            from huggingface_hub import hf_hub_url
        except ImportError:
            raise InputError("DINOv2 features need the package huggingface_hub; install genloom[features]") from None
        notify(f"fetching the weights of {dinov2.REPOSITORY} (88 MB, once)")
        _download([hf_hub_url(dinov2.REPOSITORY, name) for name in ("config.json", path.name)], folder)
    return path


def _download(addresses: list[str], folder: Path, digest: str | None = None) -> None:
    """Download files into a folder. digest: how their sha256 begins. Raises GenloomError, and leaves no half file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for address in addresses:
            target = folder / address.rsplit("/", 1)[-1]
            torch.hub.download_url_to_file(address, str(target), digest, progress=False)
    except (OSError, RuntimeError) as e:
        raise GenloomError(
            f"the weights cannot be downloaded ({_reason(e)}); fetch {' and '.join(addresses)} elsewhere and put it "
            f"into {folder}, or say where it is with --features-weights or ${VARIABLE}"
        ) from None


def _reason(e: Exception) -> str:
    text = " ".join(str(e).split())
    return text if 0 < len(text) < 100 else type(e).__name__


def weights_folder() -> Path:
    """Where downloaded weights are kept."""
    return cache_root() / "weights"


def _key(data: Data, origin: Origin, path: Path) -> str:
    config = path.parent / "config.json"
    told = sha256_of(config) if origin.kind == "dinov2" and config.is_file() else ""
    parts = [VERSION, data.digest, spec_to_json(data.modality.spec), origin.kind, origin.weights, told]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
