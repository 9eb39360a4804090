"""A trained run: sample, encode, reconstruct, interpolate, evaluate."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import RunConfig, Settings, resolve, unknown, validate
from genloom.core.device import choose_device, place
from genloom.core.errors import InputError
from genloom.core.family import Family, HasLatent
from genloom.core.files import write_atomic
from genloom.core.modality import Modality
from genloom.core.rng import Rng, derive
from genloom.core.run import CONFIG, STATE, RunFolder
from genloom.core.spec import Grid, Spec, check_batch, spec_from_json, spec_to_json
from genloom.families import find_family
from genloom.modalities import find_modality

if TYPE_CHECKING:
    from PIL.Image import Image

    from genloom.data.prepare import Prepared
    from genloom.evaluate.evaluation import Evaluation

GRID_SAMPLES = 40
GOLDEN = 0.6180339887498949


def state_of(prepared: Prepared) -> dict[str, Any]:
    """What sampling needs to know of the data, as JSON: the modality, its spec and the conditions offered."""
    return {
        "modality": prepared.modality.state(),
        "spec": spec_to_json(prepared.modality.spec),
        "condition": asdict(prepared.condition),
    }


def chunks(spec: Spec, n: int) -> Iterator[tuple[int, int]]:
    """(offset, count) of pieces whose size keeps memory modest and never depends on n."""
    size = max(1, min(250, 2**21 // spec.dimensions)) if isinstance(spec, Grid) else 64
    return ((i, min(size, n - i)) for i in range(0, n, size))


def spread_labels(family: Family, n: int, seed: int) -> Tensor | None:
    """[n] class indices in the data's proportions, without the noise of independent draws (a golden-ratio sequence);
    None for a family that was trained without classes."""
    condition = family.condition
    if "label" not in family.honours():
        return None
    start = derive(seed, "labels") / 2**63
    places = (start + GOLDEN * np.arange(n)) % 1
    edges = np.cumsum(condition.counts) / sum(condition.counts)
    return torch.from_numpy(np.minimum(np.searchsorted(edges, places, side="right"), len(edges) - 1))


@torch.no_grad()
def generate(family: Family, n: int, labels: Tensor | None, seed: int, options: Settings) -> Tensor:
    """n samples as the spec says, on the CPU; row i depends only on the seed, i, its label and the options."""
    device = next(family.parameters()).device
    out = []
    for offset, count in chunks(family.spec, n):
        condition = Condition(label=None if labels is None else labels[offset : offset + count].to(device))
        condition.check(family.honours(), type(family).__name__)
        x = family.sample(count, condition, Rng(derive(seed, "sample"), offset=offset, device=device), options)
        check_batch(family.spec, x)
        out.append(x.cpu())
    return torch.cat(out)


def draw_grid(family: Family, modality: Modality[Any], n: int, path: Path) -> tuple[Image, Path]:
    """A picture of about n samples with fixed seeds, each class a column, written to `path`."""
    classes = len(family.condition.classes) if "label" in family.honours() else 0
    columns = classes if 1 < classes <= 16 else None
    if columns:
        n = max(1, n // columns) * columns
        labels: Tensor | None = torch.arange(n) % columns
    else:
        labels = spread_labels(family, n, 0)
    x = generate(family, n, labels, 0, family.Options())
    picture = modality.show([modality.decode(e) for e in x], columns)
    save_picture(picture, path)
    return picture, path


def save_picture(picture: Image, path: Path) -> None:
    """Write a PNG whole or not at all."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data.getvalue())


class Run:
    """A trained generator and the folder it lives in. Needs no training data, except to evaluate."""

    def __init__(
        self, folder: RunFolder, config: RunConfig, family: Family, modality: Modality[Any], condition: ConditionSpec
    ) -> None:
        self.folder, self.config, self.family = folder, config, family.eval()
        self.modality, self.condition = modality, condition

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> Run:
        """Read a run folder. Raises InputError when it is not one, is incomplete, damaged or altered."""
        folder = RunFolder.open(path)
        values, state = folder.read_json(CONFIG), folder.read_json(STATE)
        try:
            family_class, modality_class = find_family(values["model"]), find_modality(values["kind"])
            config = resolve([values], modality_class.Config, family_class.Config)
            modality = modality_class.from_state(state["modality"])
            shape = {k: tuple(v) for k, v in state["condition"].items()}
            condition, spec = ConditionSpec(**shape), spec_from_json(state["spec"])
            family = family_class(spec, config.family, condition)
        except (KeyError, TypeError, ValueError) as e:
            raise InputError(
                f"the settings in {path} are damaged ({type(e).__name__}: {e}); restore them or train again"
            ) from None
        try:
            family.load_state_dict(folder.load_weights())
        except RuntimeError as e:
            reason = textwrap.shorten(str(e).splitlines()[-1], 120)
            raise InputError(
                f"the weights in {path} do not fit its settings ({reason}); restore them or train again"
            ) from None
        place(family, config.train, choose_device(device))
        return cls(folder, config, family, modality, condition)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def manifest(self) -> dict[str, Any]:
        return self.folder.manifest()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.condition.classes

    def summary(self) -> dict[str, Any]:
        """What `list runs` and `describe` show."""
        m = self.manifest
        return {
            "name": self.name,
            "path": str(self.path),
            "model": self.config.model,
            "modality": self.config.kind,
            "recipe": self.config.recipe,
            "data": m.get("data", {}).get("name"),
            "classes": list(self.classes),
            "parameters": m.get("parameters", {}),
            **{k: m.get(k) for k in ("steps", "seconds", "started", "finished")},
        }

    def _options(self, options: Mapping[str, Any] | None) -> Settings:
        return validate(self.family.Options, options or {}, "options")

    def label_indices(self, label: str | int | Sequence[str | int] | None, n: int, seed: int) -> Tensor | None:
        """[n] class indices for a label name, several that take turns, or None for the data's proportions.

        Raises InputError for a name that the data did not have.
        """
        if label is None:
            return spread_labels(self.family, n, seed)
        if "label" not in self.family.honours():
            raise InputError(
                f"{self.name} was trained without labels, so it cannot be asked for {label!r}; leave --label out"
            )
        names = [str(v) for v in ([label] if isinstance(label, str | int) else label)]
        for name in names:
            if name not in self.classes:
                raise InputError(unknown(name, self.classes, "label"))
        index = torch.tensor([self.classes.index(v) for v in names])
        return index[torch.arange(n) % len(index)]

    def sample_tensor(
        self,
        n: int,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """n samples as the spec says and their class indices [n] (None without classes)."""
        if n < 1:
            raise InputError(f"the number of samples must be at least 1, got {n}")
        labels = self.label_indices(label, n, seed)
        return generate(self.family, n, labels, seed, self._options(options)), labels

    def sample(
        self,
        n: int,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """n examples (PIL images for images). label: a class name, several that take turns, or None: the data's
        proportions.

        options: settings of the family's sampler, such as {"steps": 32}; see `genloom describe MODEL`. Raises
        InputError for an unknown label or option.
        """
        x, _ = self.sample_tensor(n, label=label, seed=seed, options=options)
        return [self.modality.decode(e) for e in x]

    def write_samples(
        self,
        n: int,
        folder: str | Path | None = None,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        grid: bool = False,
    ) -> list[Path]:
        """Samples as files (by default in the run's samples/seed-N/), or one picture of them with `grid`. Returns the
        paths."""
        x, labels = self.sample_tensor(n, label=label, seed=seed, options=options)
        examples = [self.modality.decode(e) for e in x]
        target = self._output(folder, f"seed-{seed}")
        if grid:
            path = target / f"grid-{seed}.png"
            save_picture(self.modality.show(examples), path)
            return [path]
        stems = [f"{i:06d}" if labels is None else f"{i:06d}-{_safe(self.classes[int(labels[i])])}" for i in range(n)]
        return self.modality.write(examples, target, stems)

    def _output(self, folder: str | Path | None, default: str) -> Path:
        target = Path(folder) if folder is not None else self.folder.samples / default
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"{target} cannot be made: {e.strerror or e}; choose another folder with -o") from None
        return target

    # -- latent space -------------------------------------------------------------------------------------------------

    def _latent(self) -> HasLatent:
        if not isinstance(self.family, HasLatent):
            raise InputError(
                f"the model {self.config.model} has no latent space; the models vae and autoencoder have one"
            )
        return self.family

    def _encoded(self, images: Sequence[Any]) -> Tensor:
        """Examples of the modality, raw or already read, as one batch."""
        if not len(images):
            raise InputError("no images were given")
        cls, config = type(self.modality), self.modality.config
        device = next(self.family.parameters()).device
        return torch.stack([self.modality.encode(cls.read(image, config)) for image in images]).to(device)

    @torch.no_grad()
    def encode(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """[N, D] features of images (PIL images, arrays or file contents). Raises InputError for a family without a
        latent space."""
        codes: NDArray[np.float32] = self._latent().encode(self._encoded(images)).float().cpu().numpy()
        return codes

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> list[Any]:
        """Examples of codes [N, D]."""
        z = torch.as_tensor(codes, dtype=torch.float32, device=next(self.family.parameters()).device)
        return [self.modality.decode(e) for e in self._latent().decode(z).float().clamp(-1, 1).cpu()]

    def reconstruct(self, images: Sequence[Any]) -> list[Any]:
        """Each image encoded and decoded again."""
        return self.decode(self.encode(images))

    def interpolate(
        self,
        n: int = 8,
        *,
        rows: int = 4,
        seed: int = 0,
        label: str | int | None = None,
        between: Sequence[Any] | None = None,
    ) -> list[list[Any]]:
        """`rows` ways of n steps between two codes each: of the images `between` (pairs in turn), else of samples."""
        if n < 2:
            raise InputError(f"an interpolation has at least 2 steps, got {n}")
        self._latent()
        if between is not None and (len(between) < 2 or len(between) % 2):
            raise InputError(f"interpolation goes between pairs of images; got {len(between)}")
        ends = self.encode(between if between is not None else self.sample(2 * rows, label=label, seed=seed))
        way = np.linspace(0, 1, n, dtype=np.float32)[:, None]
        return [self.decode(a + way * (b - a)) for a, b in zip(ends[::2], ends[1::2], strict=True)]

    # -- judging ------------------------------------------------------------------------------------------------------

    def evaluate(
        self, against: Any = None, *, n: int | None = None, seed: int = 0, notify: Callable[[str], None] | None = None
    ) -> Evaluation:
        """Quality figures with references, written to evaluation.json and report.html.

        against: data to compare with, by default what the run was trained on. n: number of samples. Raises InputError
        when the data is not there.
        """
        from genloom.data.prepare import prepare
        from genloom.evaluate.figures import evaluate_samples

        notify = notify or (lambda _: None)
        source = against if against is not None else self.config.data.path
        if isinstance(source, str) and not source:
            raise InputError(f"{self.name} was trained on data in memory; say what to compare with: --against DATA")
        prepared = prepare(source, self.config.kind, self.modality.config.model_dump(), self.config.data, notify)
        if prepared.modality.spec != self.modality.spec or prepared.condition.classes != self.classes:
            raise InputError(
                f"{prepared.name} does not look like what {self.name} was trained on: "
                f"{prepared.modality.spec} with {len(prepared.condition.classes)} classes, against "
                f"{self.modality.spec} with {len(self.classes)}"
            )
        evaluation = evaluate_samples(self, prepared, n=n, seed=seed, notify=notify)
        self.folder.write_json(self.folder.evaluation.name, evaluation.to_json())
        self.write_report()
        return evaluation

    def write_report(self) -> Path:
        from genloom.evaluate.report import write_report

        return write_report(self.path)


def _safe(label: str) -> str:
    """A label as part of a file name."""
    return "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in label)[:60]
