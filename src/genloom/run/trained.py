"""A trained run: sample, encode, reconstruct, interpolate, evaluate."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
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
from genloom.core.family import Family, HasLatent, HasSteps, HasSurprise
from genloom.core.modality import Modality
from genloom.core.rng import Rng, derive
from genloom.core.run import CONFIG, STATE, WEIGHTS, RunFolder
from genloom.core.spec import Tokens, spec_from_json
from genloom.families import find_family
from genloom.modalities import find_modality
from genloom.provenance import Batch, Marker, load_identity
from genloom.run.generate import generate, save_shown, spread_labels
from genloom.run.keeping import check, kept
from genloom.run.prompting import columns, cut, given, guide_for, pieces

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared
    from genloom.evaluate.contracts import FeatureSpace
    from genloom.evaluate.evaluation import Evaluation


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
        prompt: str = "",
        suffix: str = "",
        stop: Sequence[str] = (),
        notify: Callable[[str], None] = lambda _: None,
    ) -> tuple[Tensor, Tensor | None]:
        """n samples as the spec says and their class indices [n] (None without classes). The rest as in `sample`."""
        if n < 1:
            raise InputError(f"the number of samples must be at least 1, got {n}")
        labels, chosen = self.label_indices(label, n, seed), self._options(options)
        known = self._given(prompt, suffix, chosen, notify)
        guide = guide_for(self.modality, stop, columns(self.family.spec, known))
        return generate(self.family, n, labels, seed, chosen, known, guide), labels

    def _given(self, prompt: str, suffix: str, options: Settings, notify: Callable[[str], None]) -> Condition | None:
        return given(self.family, self.modality, prompt, suffix, getattr(options, "max_tokens", None), notify)

    def sample(
        self,
        n: int,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        prompt: str = "",
        suffix: str = "",
        stop: Sequence[str] = (),
        only: str | None = None,
        repair: bool = False,
        notify: Callable[[str], None] = lambda _: None,
    ) -> list[Any]:
        """n examples (PIL images for images, str for text). label: a class name, several that take turns, or None: the
        data's proportions.

        options: settings of the family's sampler, such as {"steps": 32}; see `genloom describe MODEL`. For sequences:
        prompt and suffix are what each sample begins and ends with, and a sample ends before the first of the texts
        `stop` that comes after the prompt. only: a trait that every sample shall show; those without it are drawn
        again, or with `repair` changed a little. notify is told of a prompt that is too long. Raises InputError for an
        unknown label, option, character or trait.
        """
        check(self.modality, only, repair)

        def draw(seed: int, label: Any) -> tuple[list[Any], Tensor | None]:
            x, labels = self.sample_tensor(
                n, label=label, seed=seed, options=options, prompt=prompt, suffix=suffix, stop=stop, notify=notify
            )
            return [self.modality.decode(e) for e in x], labels

        examples, labels = draw(seed, label)
        if only is not None:
            same = None if labels is None else [self.classes[int(i)] for i in labels]
            again = lambda k: draw(derive(seed, "again", k), same)[0]  # noqa: E731
            examples = kept(examples, again, self.modality, only, repair)
        return [cut(e, len(prompt), stop) for e in examples] if stop else examples

    def stream(
        self,
        prompt: str = "",
        *,
        label: str | int | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        notify: Callable[[str], None] = lambda _: None,
    ) -> Iterator[str]:
        """The text of one sample, piece by piece as it is generated, after the prompt; together the sample that
        `sample` gives. Closing the iterator stops the work. Raises InputError for models that are not of
        sequences."""
        family = self.family
        if not isinstance(family, HasSteps) or not isinstance(family.spec, Tokens):
            raise InputError(f"the model {self.config.model} does not generate piece by piece; leave --stream out")
        if not self.modality.shows_text:
            raise InputError(f"samples of {self.config.kind} are no text to print; leave --stream out")
        chosen = self._options(options)
        if getattr(chosen, "beams", 1) > 1:
            raise InputError("beam search knows its result only at the end; leave --stream out or set beams=1")
        device = next(family.parameters()).device
        known = self._given(prompt, "", chosen, notify)
        labels = self.label_indices(label, 1, seed)
        condition = known or Condition()
        condition = replace(condition, label=labels).map(lambda t: t.to(device))
        begin = columns(family.spec, known)
        guide = guide_for(self.modality, stop, begin)
        rng = Rng(derive(seed, "sample"), device=device)
        steps = family.steps(1, condition, rng, chosen, guide)
        tokens = (int(step.tokens[0]) for step in islice(steps, begin - 1, None))
        return pieces(self.modality.decode, tokens, stop)

    @torch.no_grad()
    def surprise(self, example: Any) -> NDArray[np.float32]:
        """[T - 1] nats of each token of an example after its first, given those before it. Raises InputError for
        families without a likelihood of tokens."""
        if not isinstance(self.family, HasSurprise):
            raise InputError(f"the model {self.config.model} does not tell how likely each token is")
        nats: NDArray[np.float32] = self.family.surprise(self._encoded([example]), Condition())[0].cpu().numpy()
        return nats

    def write_samples(
        self,
        n: int,
        folder: str | Path | None = None,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        grid: bool = False,
        prompt: str = "",
        suffix: str = "",
        stop: Sequence[str] = (),
        only: str | None = None,
        repair: bool = False,
        mark: bool = True,
        notify: Callable[[str], None] = lambda _: None,
    ) -> list[Path]:
        """Samples as files (by default in the run's samples/seed-N/), or one picture or text of them with `grid`.
        Returns the paths.

        mark: put the mark of generated content into each and write their signed record (docs/provenance.md); without
        it, the run's manifest notes that.
        """
        asked = {
            "n": n, "label": label, "seed": seed, "options": self._options(options).model_dump(mode="json"),
            "grid": grid, "prompt": prompt, "suffix": suffix, "stop": list(stop),
            "only": only, "repair": repair,
        }  # fmt: skip
        marker = self.marker("sample", asked, mark=mark, notify=notify)
        labels = self.label_indices(label, n, seed)
        examples = self.sample(
            n, label=label, seed=seed, options=options, prompt=prompt, suffix=suffix, stop=stop, only=only,
            repair=repair, notify=notify,
        )  # fmt: skip
        target = self._output(folder, f"seed-{seed}")
        if grid:
            paths = [save_shown(self.modality.show(examples), target / f"grid-{seed}", marker)]
            marker.record(target)
            return paths
        stems = [f"{i:06d}" if labels is None else f"{i:06d}-{_safe(self.classes[int(labels[i])])}" for i in range(n)]
        names = [None if labels is None else self.classes[int(labels[i])] for i in range(n)]
        marker.places = {stem: (i, name) for i, (stem, name) in enumerate(zip(stems, names, strict=True))}
        paths = self.modality.write(examples, target, stems, marker)
        marker.record(target)
        return paths

    def marker(
        self,
        task: str,
        asked: Mapping[str, Any],
        *,
        mark: bool = True,
        notify: Callable[[str], None] = lambda _: None,
    ) -> Marker:
        """What puts marks into the files of one batch. asked: everything that decides them besides the run.

        With `mark` False they stay unmarked, and the manifest says so. Raises InputError when the signing identity
        cannot be used.
        """
        if mark:
            identity = load_identity()
            if identity is None:
                notify("the marks are not signed: the package cryptography is not installed")
            return Marker(self.batch(task, asked), identity)
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        earlier = self.manifest.get("unmarked", [])
        self.folder.update_manifest(unmarked=[*earlier, {"when": when, "task": task, "asked": dict(asked)}])
        return Marker(None)

    def batch(self, task: str, asked: Mapping[str, Any]) -> Batch:
        """What files made together have in common, as their record tells it."""
        device = next(self.family.parameters()).device.type
        return Batch(self.name, self.manifest.get("files", {}).get(WEIGHTS, ""), task, asked, device)

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
                f"the model {self.config.model} has no latent space; the models vae, autoencoder and fsq have one"
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

    # -- the data it learnt from ---------------------------------------------------------------------------------------

    def data(self, against: Any = None, notify: Callable[[str], None] = lambda _: None) -> Prepared:
        """What the run was trained on (or `against`, also already prepared), prepared as it was then. Raises InputError
        when it is not there or does not look alike."""
        from genloom.data.prepare import Prepared, prepare

        source = against if against is not None else self.config.data.path
        if isinstance(source, str) and not source:
            raise InputError(f"{self.name} was trained on data in memory; say what to compare with: --against DATA")
        if isinstance(source, Prepared):
            prepared = source
        else:
            prepared = prepare(source, self.config.kind, self.modality.config.model_dump(), self.config.data, notify)
        if prepared.modality.spec != self.modality.spec or prepared.condition.classes != self.classes:
            raise InputError(
                f"{prepared.name} does not look like what {self.name} was trained on: "
                f"{prepared.modality.spec} with {len(prepared.condition.classes)} classes, against "
                f"{self.modality.spec} with {len(self.classes)}"
            )
        return prepared

    # -- judging ------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        against: Any = None,
        *,
        n: int | None = None,
        seed: int = 0,
        features: str | None = None,
        weights: str | Path | None = None,
        space: FeatureSpace | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> Evaluation:
        """Quality figures with references, written to evaluation.json and report.html.

        against: data to compare with, by default what the run was trained on. n: number of samples. features: where
        distances are measured: "learned" from the data, or for images by a pretrained network, "inception" or "dinov2",
        with the weights in a file or folder; space: such features at hand. Raises InputError when the data or the
        weights are not there.
        """
        from genloom.evaluate.figures import evaluate_samples
        from genloom.evaluate.pretrained import pretrained_for
        from genloom.run.explaining import for_report
        from genloom.run.judging import with_pictures, with_run

        notify = notify or (lambda _: None)
        prepared = self.data(against, notify)
        shown: list[tuple[Tensor, Tensor]] = []
        if space is None:
            space = pretrained_for(prepared, features, None if weights is None else Path(weights), notify=notify)
        evaluation = evaluate_samples(self, prepared, n=n, seed=seed, space=space, notify=notify, keep=shown.extend)
        evaluation = with_run(evaluation, self.manifest, self.config.train.model_dump())
        evaluation = with_pictures(evaluation, self.folder.samples, self.modality, shown)
        self.folder.write_json(self.folder.evaluation.name, evaluation.to_json())
        notify("explaining some samples")
        for_report(self, prepared, notify)
        self.write_report()
        return evaluation

    def write_report(self) -> Path:
        """report.html and the model card, README.md, from what is in the folder. Returns the report's path."""
        from genloom.evaluate.card import write_card
        from genloom.evaluate.report import write_report

        write_card(self.path)
        return write_report(self.path)


def _safe(label: str) -> str:
    """A label as part of a file name."""
    return "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in label)[:60]
