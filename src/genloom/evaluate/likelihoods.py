"""How well a model of sequences predicts held-out data, beside counts: nats, bits per byte, perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.device import device_of
from genloom.core.family import Family, HasLatent, HasLikelihood, HasSurprise
from genloom.core.modality import Modality, Sequential
from genloom.core.rng import Rng, derive
from genloom.core.spec import Tokens
from genloom.data.sequences import Sequences
from genloom.evaluate.contracts import Data
from genloom.evaluate.evaluation import Figure, Measured, figure_of
from genloom.evaluate.passages import Ints, decoded, drawn, held_out, taken, tokens_of
from genloom.evaluate.shared import NOTHING_HELD
from genloom.metrics.intervals import normal_interval
from genloom.nets.counts import KneserNey

Floats = NDArray[np.float64]
Surprise = Callable[[Tensor, Condition], Tensor]

WINDOW = 64
MOST_SCORED = 2_000_000  # tokens of more held-out data the beginning is scored
BLOCK, LEAST_BLOCKS = 4096, 20  # a stream is scored in blocks, each after the context before it
TOGETHER = 16_384  # tokens scored at a time
MOST_BOUND = 1_000  # held-out documents of which a bound is computed that needs many draws
ACTIVE = 0.01  # variance of an entry of the codes from which it is in use (Burda et al. 2016)
UNITS = {
    "nats_per_token": "token",
    "nats_per_character": "character",
    "bits_per_byte": "byte",
    "nats_per_step": "step",
    "nats_per_residue": "residue",
}


@dataclass(frozen=True)
class Plan:
    """Rows to be scored. batches: rows and how many of their first predictions only are context. sizes: [R] tokens that
    are predicted in each row, and what they are in characters and bytes where the modality tells."""

    batches: list[tuple[Batch, int]]
    sizes: dict[str, Floats]

    @torch.no_grad()
    def nats(self, surprise: Surprise, device: torch.device, honoured: frozenset[str]) -> Floats:
        """[R] nats of each row, given its conditions among `honoured`."""
        out = []
        for batch, known in self.batches:
            b = batch.to(device)
            out.append(surprise(b.x, b.condition.only(honoured))[:, known:].double().sum(1).cpu().numpy())
        return np.concatenate(out)


def plan(s: Sequences, begins: Ints, lengths: Ints, known: Ints, owner: Ints, modality: object) -> Plan:
    """The rows of `lengths` tokens at `begins`, of which the first `known` predictions are not counted. owner: the
    examples whose conditions they have."""
    assert isinstance(modality, Modality) and isinstance(modality, Sequential)
    order = np.lexsort((known, lengths))
    begins, lengths, known = begins[order], lengths[order], known[order]
    rows = taken(s, begins, lengths, owner[order])
    read = np.zeros(len(rows), dtype=np.int64)
    if rows.conditions is not None:
        read = rows.conditions.lengths(np.arange(len(rows)))
    widest = int(read.max(initial=0))
    batches, first = [], 0
    while first < len(rows):
        last = min(len(rows), first + max(1, TOGETHER // max(widest, int(lengths[first]))))
        # documents of like length together; rows with another number of known tokens apart
        last = min(last, int(np.searchsorted(lengths, 2 * lengths[first], side="right")))
        apart = np.flatnonzero(known[first:last] != known[first])
        last = first + int(apart[0]) if len(apart) else last
        batches.append((rows.batch(np.arange(first, last)), int(known[first])))
        first = last
    sizes: dict[str, list[int]] = {"token": (lengths - 1 - known).tolist()}
    for begin, length, skip in zip(begins, lengths, known, strict=True):
        predicted = s.tokens[begin + skip + 1 : begin + length].astype(np.int64)
        for unit, size in modality.sizes(modality.decode(torch.from_numpy(predicted))).items():
            sizes.setdefault(unit, []).append(size)
    return Plan(batches, {unit: np.array(values, dtype=np.float64) for unit, values in sizes.items()})


def whole(s: Sequences, context: int, modality: object) -> Plan:
    """Every token given all before it: documents as they are, a stream in blocks that follow on `context` tokens."""
    if not s.spec.stream:
        long = np.flatnonzero(s.lengths > 1)
        return plan(s, s.starts[:-1][long], s.lengths[long], np.zeros(len(long), dtype=np.int64), long, modality)
    size = max(1, min(BLOCK, (s.total - 1) // LEAST_BLOCKS))
    first = np.arange(0, s.total - 1, size)  # the token before the first that a block predicts
    known = np.minimum(first, min(context, BLOCK))
    ends = np.minimum(first + size + 1, s.total)
    return plan(s, first - known, ends - first + known, known, _owners(s, first), modality)


def windows(s: Sequences, modality: object, size: int = WINDOW) -> Plan:
    """Windows that predict `size` tokens each and follow on one another, with nothing known of the window before: of a
    stream (N - 1) // size of them, of documents also the shorter last ones."""
    if s.spec.stream:
        first = np.arange((s.total - 1) // size) * size
        lengths = np.full(len(first), size + 1)
        return plan(s, first, lengths, np.zeros_like(first), _owners(s, first), modality)
    counts = np.maximum(0, -(-(s.lengths - 1) // size))
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(s.starts[:-1], counts) + place * size
    lengths = np.minimum(size + 1, np.repeat(s.starts[1:], counts) - first)
    owner = np.repeat(np.arange(len(s)), counts)
    return plan(s, first, lengths, np.zeros_like(first), owner, modality)


def _owners(s: Sequences, at: Ints) -> Ints:
    return np.searchsorted(s.starts, at, side="right") - 1


def ratio(nats: Floats, sizes: Floats) -> Measured:
    """Sum of nats over the sum of sizes, with the interval of a ratio estimated from rows (Cochran 1977, eq. 2.39)."""
    value = float(nats.sum() / sizes.sum())
    n = len(nats)
    if n < 2:
        return value, None
    error = math.sqrt(float(((nats - value * sizes) ** 2).sum()) * n / (n - 1)) / float(sizes.sum())
    return value, normal_interval(value, error, low=0)


@dataclass(frozen=True)
class Likelihoods:
    figures: tuple[Figure, ...]
    notices: tuple[str, ...]


def likelihoods(family: Family, data: Data, notify: Callable[[str], None] = lambda _: None) -> Likelihoods:
    """The likelihood figures of a family that has `surprise`, each with that of Kneser-Ney counts of the training split
    as its floor. The held-out data is scored whole, at most 2 million tokens of it; where there is none, the figures
    say so. Of a family that tells the likelihood of whole examples only: those of at most 1,000 documents. None for
    other families."""
    spec = data.modality.spec
    if not isinstance(spec, Tokens):
        return Likelihoods((), ())
    if not isinstance(family, HasSurprise | HasLikelihood):
        return Likelihoods((), ())
    held, splits = held_out(data, spec)
    if not splits:
        return Likelihoods(tuple(_not_measured(data, spec)), ())
    if not isinstance(family, HasSurprise):
        return _of_documents(family, data, notify)
    notify("scoring the held-out data")
    notices = []
    if held.total > MOST_SCORED:
        notices.append(f"likelihoods are of the first {MOST_SCORED:,} of {held.total:,} held-out tokens")
        held = _beginning(held, MOST_SCORED)
    borders = {} if spec.stream else {"eos": spec.eos, "pad": spec.pad}
    train = tokens_of(data.train, spec)
    counts, single = KneserNey(spec.vocab, **borders), KneserNey(spec.vocab, 1, **borders)
    for model in (counts, single):
        model.fit(train.tokens)
    context, stride = int(family.context), int(family.stride)
    assert isinstance(family, Family)
    honoured = family.honours() - {"known"}
    scored = _Scored(family, counts, single, honoured, family)
    how = _how(context, stride, spec) + _given(data.condition, honoured)
    figures, losing = scored.figures(whole(held, context, data.modality), how)
    short = windows(held, data.modality)
    if len(short.sizes["token"]):
        more, worse = scored.window_figures(short, _given(data.condition, honoured))
        figures, losing = figures[:2] + more + figures[2:], losing + worse
    return Likelihoods(tuple(figures), (*notices, *losing))


def _not_measured(data: Data, spec: Tokens) -> Iterator[Figure]:
    """The figures without values, of the units that the modality knows."""
    assert isinstance(data.modality, Sequential)
    train = tokens_of(data.train, spec)
    known = {"token", *(data.modality.sizes(decoded(train, data.modality, 0, 0, 1)) if train.total else ())}
    for name in (*(n for n, unit in UNITS.items() if unit in known), "perplexity"):
        yield figure_of(name, None, None, None, (0, 0), "every held-out token", NOTHING_HELD)


@dataclass
class Whole:
    """The likelihood of whole documents as a `surprise` of one place: [B, 1]."""

    family: Family
    exact: bool
    context: int
    stride: int = 0

    def surprise(self, x: Tensor, condition: Condition) -> Tensor:
        assert isinstance(self.family, HasLikelihood)
        rng = Rng(derive(0, "likelihood", len(x), x.shape[1]), device=x.device)
        return self.family.nll(Batch(x, condition), rng)[:, None]


def _of_documents(family: Family, data: Data, notify: Callable[[str], None]) -> Likelihoods:
    spec = data.modality.spec
    assert isinstance(spec, Tokens) and isinstance(family, HasLikelihood)
    if spec.stream:
        return Likelihoods((), ("of one long text this model tells no likelihood: it knows whole examples only",))
    notify("scoring held-out examples")
    held, _ = held_out(data, spec)
    held = drawn(held, MOST_BOUND, derive(0, "bound"))
    train = tokens_of(data.train, spec)
    borders = {"eos": spec.eos, "pad": spec.pad}
    counts, single = KneserNey(spec.vocab, **borders), KneserNey(spec.vocab, 1, **borders)
    for model in (counts, single):
        model.fit(train.tokens)
    scored = _Scored(Whole(family, family.exact, spec.length), counts, single, family.honours() - {"known"}, family)
    figures, losing = scored.figures(whole(held, spec.length, data.modality), f"{len(held):,} held-out examples, whole")
    if isinstance(family, HasLatent):
        figures.append(active_latents(family, held))
    return Likelihoods(tuple(figures), tuple(losing))


def active_latents(family: HasLatent, held: Sequences) -> Figure:
    """How many entries of the code vary over held-out examples: few tell of a code that the decoder ignores."""
    assert isinstance(family, Family)
    device = device_of(family)
    with torch.no_grad():
        codes = torch.cat([family.encode(b.x.to(device)) for b in held.batches(250)]).float()
    value, width = float((codes.var(0, correction=0) > ACTIVE).sum()), codes.shape[1]
    note = f"of {width}; in use is what varies by more than {ACTIVE} over the examples"
    how = "codes of held-out examples"
    return figure_of("active_latents", (value, None), None, None, (len(held), len(held)), how, note)


def _how(context: int, stride: int, spec: Tokens) -> str:
    if stride:
        return f"every held-out token given those before it in a window of {context:,} tokens that moves by {stride:,}"
    return f"every held-out token given all before it{'' if spec.stream else ' in its example'}, by a carried state"


def _given(spec: ConditionSpec, honoured: frozenset[str]) -> str:
    """What a model knows of an example beside its tokens, for figures that are not to be compared with those of models
    that do not."""
    there = {"properties": bool(spec.properties), "source": spec.source is not None}
    names = [name for name in there if there[name] and name in honoured]
    return f", given also its {' and '.join(names)}" if names else ""


def _beginning(s: Sequences, most: int) -> Sequences:
    """The first `most` tokens of a stream, or as many examples as have at most so many, but one at least."""
    if s.spec.stream:
        starts = np.unique(np.minimum(s.starts, most))
        return Sequences(
            s.spec, s.tokens[:most], starts, None if s.labels is None else s.labels[: len(starts) - 1], list
        )
    n = max(1, int(np.searchsorted(s.starts, most, side="right")) - 1)
    labels = None if s.labels is None else s.labels[:n]
    more = None if s.conditions is None else s.conditions[:n]
    return Sequences(s.spec, s.tokens[: s.starts[n]], s.starts[: n + 1], labels, list, more)


@dataclass(frozen=True)
class _Scored:
    """A model beside counts of up to 6 tokens and of single tokens."""

    family: HasSurprise
    counts: KneserNey
    single: KneserNey
    honoured: frozenset[str]
    module: Family

    def _nats(self, plan: Plan) -> tuple[Floats, Floats, Floats]:
        device = next(self.module.parameters()).device
        own = plan.nats(self.family.surprise, device, self.honoured)
        return own, self._counted(plan, self.counts), self._counted(plan, self.single)

    def _counted(self, plan: Plan, model: KneserNey) -> Floats:
        return plan.nats(lambda x, _: model.surprise(x), torch.device("cpu"), frozenset())

    def figures(self, plan: Plan, how: str) -> tuple[list[Figure], list[str]]:
        """The figures of the whole split, and what must be said of them."""
        own, known, alone = self._nats(plan)
        tokens, out = plan.sizes["token"], []
        n = (int(tokens.sum()), len(tokens))
        bound = "" if self.family.exact else "an upper bound; "
        uniform = math.log(self.counts.vocab)
        mean = {name: ratio(v, tokens)[0] for name, v in (("own", own), ("counts", known), ("single", alone))}
        note = (
            f"{bound}no skill is Kneser-Ney counts of up to {self.counts.order - 1} tokens before; counts of single "
            f"tokens get {mean['single']:.4g}, equal chances {uniform:.4g}"
        )
        for name, unit in UNITS.items():
            if plan.sizes.get(unit) is not None and plan.sizes[unit].sum() > 0:
                scale = math.log(2) if unit == "byte" else 1.0
                value, floor = (ratio(v / scale, plan.sizes[unit]) for v in (own, known))
                said = note if unit == "token" else bound.rstrip("; ")
                out.append(figure_of(name, value, None, floor, n, how, said))
        value, floor = ratio(own, tokens), ratio(known, tokens)
        out.append(figure_of("perplexity", _exp(value), None, _exp(floor), n, how, bound.rstrip("; ")))
        return out, _losing(mean["own"], mean["counts"], "token", "")

    def window_figures(self, plan: Plan, given: str) -> tuple[list[Figure], list[str]]:
        """The figure in windows of 64; per character where the modality counts them. given: what is known besides."""
        if not plan.sizes.get("character", np.zeros(1)).sum():
            return [], []
        own, known, alone = self._nats(plan)
        sizes = plan.sizes["character"]
        value, floor, single = (ratio(v, sizes) for v in (own, known, alone))
        how = f"windows that predict {WINDOW} tokens each and know nothing of the window before{given}"
        note = f"counts of single tokens get {single[0]:.4g}"
        n = (int(plan.sizes["token"].sum()), len(sizes))
        figure = figure_of("nats_per_character_64", value, None, floor, n, how, note)
        return [figure], _losing(value[0], floor[0], "character", f" in windows of {WINDOW}")


def _exp(m: Measured) -> Measured:
    value, interval = m
    return math.exp(min(value, 700)), None if interval is None else (math.exp(interval[0]), math.exp(interval[1]))


def _losing(own: float, counts: float, unit: str, where: str) -> list[str]:
    if own < counts:
        return []
    return [
        f"the model predicts held-out data{where} no better than mere counts of neighbouring tokens (Kneser-Ney): "
        f"{own:.4g} against {counts:.4g} nats per {unit}; it has not learnt more than they know"
    ]
