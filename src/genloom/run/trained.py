"""A trained run: sample, encode, reconstruct, interpolate, evaluate."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import RunConfig, Settings, validate
from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.core.family import Family, HasLatent, HasSurprise
from genloom.core.modality import Modality
from genloom.core.run import WEIGHTS, RunFolder
from genloom.core.spec import Row, Tokens
from genloom.provenance import Batch, Marker, load_identity
from genloom.run import prompting
from genloom.run.alike import alike
from genloom.run.asking import Values, asked_for, labels_for
from genloom.run.completing import completed
from genloom.run.generate import file_part, generate, save_shown
from genloom.run.interpolating import interpolated
from genloom.run.keeping import check, kept
from genloom.run.latents import without_codes
from genloom.run.opening import opened
from genloom.run.prompting import columns, cut, guide_for
from genloom.run.row_codes import encoded_rows, reconstructed_rows, rows_of
from genloom.run.rows import filled, sampled
from genloom.run.speaking import Speaks
from genloom.run.streaming import streamed
from genloom.run.summaries import summary_of
from genloom.run.telling import told

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared
    from genloom.evaluate.contracts import FeatureSpace
    from genloom.evaluate.evaluation import Evaluation


class Run(Speaks):
    """A trained generator and the folder it lives in. Needs no training data, except to evaluate."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        family: Family,
        modality: Modality[Any],
        condition: ConditionSpec,
        source: Modality[Any] | None = None,
    ) -> None:
        """source: the modality of what samples can follow from."""
        self.folder, self.config, self.family = folder, config, family.eval()
        self.modality, self.condition, self.source = modality, condition, source
        self.files: dict[str, Any] = {}  # settings of what is written that are not those of the training

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> Run:
        """Read a run folder. Raises InputError when it is not one, is incomplete, damaged or altered."""
        return cls(*opened(path, device))

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
        return summary_of(self.name, self.path, self.config, self.classes, self.manifest)

    def writing(self, settings: Mapping[str, Any]) -> Run:
        """The same run with other settings of which files are written, such as {"sound": False} of music. Raises
        InputError for settings that decide more than that."""
        return told(self, settings)

    def _options(self, options: Mapping[str, Any] | None) -> Settings:
        return validate(self.family.Options, options or {}, "options")

    def label_indices(self, label: str | int | Sequence[str | int] | None, n: int, seed: int) -> Tensor | None:
        """[n] class indices for a label name, several that take turns, or None for the data's proportions.

        Raises InputError for a name that the data did not have.
        """
        return labels_for(label, self.family, self.classes, self.name, n, seed)

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
        properties: Values | None = None,
        source: Any = None,
        given: Condition | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> tuple[Tensor, Tensor | None]:
        """n samples as the spec says and their class indices [n] (None without classes). given: conditions as the
        family has them, one for each sample, in place of label, properties and source. The rest as in `sample`."""
        if n < 1:
            raise InputError(f"the number of samples must be at least 1, got {n}")
        chosen = self._options(options)
        known = self.known(prompt, suffix, chosen, notify)
        if given is None:
            labels = self.label_indices(label, n, seed)
            given = self.asked(n, properties, source, notify, labels, seed)
        else:
            labels = given.label
        guide = guide_for(self.modality, stop, columns(self.family.spec, known))
        given = replace(given, known=known.known, mask=known.mask)
        return generate(self.family, n, labels, seed, chosen, given, guide), labels

    def asked(
        self, n: int, properties: Values | None, source: Any, notify: Callable[[str], None],
        labels: Tensor | None = None, seed: int | None = None,
    ) -> Condition:  # fmt: skip
        """Properties and sources that n samples are asked for, as `asked_for` says."""
        own = self.condition, self.family.honours(), self.source
        return asked_for(*own, n, properties, source, notify, labels, seed)

    def known(self, prompt: str, suffix: str, options: Settings, notify: Callable[[str], None]) -> Condition:
        """The beginning and the end that samples are given."""
        room = getattr(options, "max_tokens", None)
        return prompting.given(self.family, self.modality, prompt, suffix, room, notify) or Condition()

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
        properties: Values | None = None,
        source: Any = None,
        only: str | None = None,
        repair: bool = False,
        where: str | Mapping[str, Any] | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> Any:
        """n examples (PIL images for images, str for text; of a table one DataFrame). label: a class name, several that
        take turns, or None: the data's proportions. where: what rows of a table shall meet, as "sex=Female,age>60".

        options: settings of the family's sampler, such as {"steps": 32}; see `genloom describe MODEL`. For sequences:
        prompt and suffix are what each sample begins and ends with, and a sample ends before the first of the
        texts `stop` that comes after the prompt. properties: numbers by name, as in {"length": 40}, or several
        that take turns; if none, those of training examples. source: what the samples follow from, such as a
        title, or a list of them that take turns. only: a trait that every sample shall show; those without it
        are drawn again, or with `repair` changed a little. notify is told of what is too long or was never
        seen. Raises InputError for an unknown label, property, option, character or trait.
        """
        check(self.modality, only, repair)
        if where or isinstance(self.family.spec, Row):
            return sampled(self, n, where=where, seed=seed, options=self._options(options), notify=notify)

        def draw(seed: int, label: Any) -> tuple[list[Any], Tensor | None]:
            x, labels = self.sample_tensor(
                n, label=label, seed=seed, options=options, prompt=prompt, suffix=suffix, stop=stop,
                properties=properties, source=source, notify=notify,
            )  # fmt: skip
            return self.modality.decode_all(x), labels

        examples = kept(draw, seed, label, self.classes, self.modality, only, repair)
        return [cut(e, len(prompt), stop) for e in examples] if stop else examples

    def stream(
        self,
        prompt: str = "",
        *,
        label: str | int | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        properties: Values | None = None,
        source: Any = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> Iterator[str]:
        """The text of one sample, piece by piece as it is generated, after the prompt; together the sample that
        `sample` gives. Closing the iterator stops the work. Raises InputError for models that are not of
        sequences."""
        return streamed(self, prompt, label, seed, options, stop, properties, source, notify)

    def complete(
        self,
        example: Any,
        parts: str,
        n: int = 1,
        *,
        label: str | int | Sequence[str | int] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """n examples in which the `parts` of an example are kept, such as "1" for the first voice of a piece, and the
        others are filled in. example: raw or already read. Raises InputError where there are no such parts."""
        return completed(self, example, parts, n, self.label_indices(label, n, seed), seed, options)

    def fill(
        self,
        holes: Any,
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> Any:
        """The rows of a table (a path or a DataFrame) with their missing cells drawn given the others."""
        return filled(self, holes, seed=seed, options=self._options(options), notify=notify)

    @torch.no_grad()
    def surprise(
        self, example: Any, *, label: str | int | None = None, properties: Values | None = None, source: Any = None
    ) -> NDArray[np.float32]:
        """[T - 1] nats of each token of an example after its first, given those before it and what is given else.
        Raises InputError for families without a likelihood of tokens."""
        if not isinstance(self.family, HasSurprise):
            raise InputError(f"the model {self.config.model} does not tell how likely each token is")
        x, labels = self._encoded([example]), None if label is None else self.label_indices(label, 1, 0)
        asked = replace(self.asked(1, properties, source, lambda _: None), label=labels)
        nats: NDArray[np.float32] = self.family.surprise(x, asked.map(lambda t: t.to(x.device)))[0].cpu().numpy()
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
        properties: Values | None = None,
        source: Any = None,
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
            "properties": dict(properties or {}), "source": source, "only": only, "repair": repair,
            "files": self.files,
        }  # fmt: skip
        marker = self.marker("sample", asked, mark=mark, notify=notify)
        labels = self.label_indices(label, n, seed)
        examples = self.sample(
            n, label=label, seed=seed, options=options, prompt=prompt, suffix=suffix, stop=stop, properties=properties,
            source=source, only=only, repair=repair, notify=notify,
        )  # fmt: skip
        target = self._output(folder, f"seed-{seed}")
        if grid:
            paths = [save_shown(self.modality.show(examples), target / f"grid-{seed}", marker)]
            marker.record(target)
            return paths
        stems = [
            f"{i:06d}" if labels is None else f"{i:06d}-{file_part(self.classes[int(labels[i])])}" for i in range(n)
        ]
        names = [None if labels is None else self.classes[int(labels[i])] for i in range(n)]
        marker.places = {stem: (i, name) for i, (stem, name) in enumerate(zip(stems, names, strict=True))}
        paths = self.modality.write(examples, target, stems, marker)
        marker.record(target)
        return paths

    def marker(
        self, task: str, asked: Mapping[str, Any], *, mark: bool = True, notify: Callable[[str], None] = lambda _: None
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
        device = device_of(self.family).type
        return Batch(self.name, self.manifest.get("files", {}).get(WEIGHTS, ""), task, asked, device)

    def _output(self, folder: str | Path | None, default: str) -> Path:
        target = Path(folder) if folder is not None else self.folder.samples / default
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"{target} cannot be made: {e.strerror or e}; choose another folder with -o") from None
        return target

    # -- latent space -------------------------------------------------------------------------------------------------

    def latent(self) -> HasLatent:
        """The family as one with a latent space. Raises InputError."""
        if not isinstance(self.family, HasLatent):
            raise InputError(without_codes(self.config.model, self.family.spec))
        return self.family

    def _encoded(self, examples: Sequence[Any]) -> Tensor:
        """Examples of the modality, raw or already read, as one batch; sequences are padded to the longest."""
        if isinstance(self.family.spec, Row):
            return encoded_rows(self, examples).to(device_of(self.family))
        if not len(examples):
            raise InputError("there is nothing to encode: no examples were given")
        cls, config, spec = type(self.modality), self.modality.config, self.family.spec
        device = device_of(self.family)
        encoded = [self.modality.encode(cls.read(example, config)) for example in examples]
        if isinstance(spec, Tokens):
            return pad_sequence(encoded, batch_first=True, padding_value=spec.pad).to(device)
        return torch.stack(encoded).to(device)

    @torch.no_grad()
    def encode(self, examples: Sequence[Any]) -> NDArray[np.float32]:
        """[N, D] features of examples (PIL images, arrays, texts or file contents; of a table a path, a DataFrame or
        mappings). Raises InputError for a family without a latent space."""
        codes: NDArray[np.float32] = self.latent().encode(self._encoded(examples)).float().cpu().numpy()
        return codes

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Any:
        """Examples of codes [N, D]: a list, of a table a DataFrame."""
        if isinstance(self.family.spec, Row):
            return rows_of(self, torch.as_tensor(codes, dtype=torch.float32))
        z = torch.as_tensor(codes, dtype=torch.float32, device=device_of(self.family))
        x = self.latent().decode(z)
        x = x if isinstance(self.family.spec, Tokens) else x.float().clamp(-1, 1)
        return [self.modality.decode(e) for e in x.cpu()]

    def reconstruct(self, examples: Sequence[Any]) -> Any:
        """Each example encoded and decoded again: a list, of a table a DataFrame."""
        if isinstance(self.family.spec, Row):
            self.latent()
            return reconstructed_rows(self, examples)
        return self.decode(self.encode(examples))

    def interpolate(
        self,
        n: int = 8,
        *,
        rows: int = 4,
        seed: int = 0,
        label: str | int | None = None,
        between: Sequence[Any] | None = None,
    ) -> list[Any]:
        """`rows` ways of n steps between two codes each: of the examples `between` (pairs in turn), else of samples.
        Each is a list of examples, of a table a DataFrame."""
        return interpolated(self, n, rows, seed, label, between)

    # -- the data it learnt from ---------------------------------------------------------------------------------------

    def data(self, against: Any = None, notify: Callable[[str], None] = lambda _: None) -> Prepared:
        """What the run was trained on (or `against`, also already prepared), prepared as it was then. Raises InputError
        when it is not there or does not look alike."""
        from genloom.data.prepare import Prepared, prepare

        source = against if against is not None else self.config.data.path
        if isinstance(source, str) and not source:
            raise InputError(f"{self.name} was trained on data in memory; say what to compare with: --against DATA")
        if not isinstance(source, Prepared):
            # Other rows of a table are told by the columns and levels that the model knows.
            keeps = self.config.follows or (against is not None and isinstance(self.family.spec, Row))
            state = self.modality.state() if keeps else None
            settings = self.modality.config.model_dump()
            source = prepare(source, self.config.kind, settings, self.config.data, notify, state)
        return alike(source, self.name, self.modality.spec, self.condition)

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
        if space is None and not isinstance(self.family.spec, Row):
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
