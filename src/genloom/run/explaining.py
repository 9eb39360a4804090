"""Why a sample looks as it does: its nearest training examples, what the latents do, where a text surprises."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.family import HasLatent, HasPredictions
from genloom.core.modality import Sequential, Shown
from genloom.core.rng import derive
from genloom.core.spec import Grid, Tokens
from genloom.data.sequences import Sequences
from genloom.evaluate.audit_grids import chosen, exactly
from genloom.evaluate.copying import Training
from genloom.evaluate.explanation import EXPLANATION, SCHEMA, activity
from genloom.evaluate.features import features_for
from genloom.evaluate.grids import as_written
from genloom.evaluate.nearest import (
    PIECE,
    Nearby,
    as_pieces,
    beginning,
    label_of,
    nearest_on_grids,
    nearest_sequences,
    origin_of,
)
from genloom.evaluate.panels import PanelRow, panel
from genloom.evaluate.passages import contents, decoded, drawn, from_rows, held_out, joined, tokens_of
from genloom.evaluate.shared import reference_split
from genloom.evaluate.surprise import surprise_of
from genloom.evaluate.traversals import has_latents, traversals
from genloom.evaluate.units import number
from genloom.run.generate import save_shown

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared
    from genloom.run.trained import Run

PICTURES = "explained"
MEASURED = 500  # examples whose codes say how a latent spreads
EXCERPTS, EXCERPT = 3, 300  # held-out texts, and tokens of each, whose surprise is shown
LONGEST, LINES = 400, 10  # characters and lines of a text shown beside another


@dataclass(frozen=True)
class Asked:
    """What to explain. n: samples, where no examples are given; k: training examples beside each. features: compare in
    learnt features in place of values. examples, names: what was given to look at. texts: whose surprise is shown."""

    nearest: bool = True
    latents: bool = True
    surprise: bool = True
    n: int = 6
    k: int = 5
    seed: int = 0
    features: bool = False
    examples: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One part of an explanation: its JSON, whose "rows" have a picture each in `strips` (none where it is text)."""

    document: dict[str, Any]
    strips: list[Image] = field(default_factory=list)


def without(reason: str) -> Part:
    return Part({"reason": reason, "rows": []})


def explained(
    run: Run, data: Prepared | None, missing: str, asked: Asked, notify: Callable[[str], None] = lambda _: None
) -> dict[str, Part]:
    """The parts that were asked for and that the model has. data: None where it is gone, and `missing` says why."""
    parts: dict[str, Part] = {}
    if asked.nearest:
        parts["nearest"] = without(missing) if data is None else _nearest(run, data, asked, notify)
    if asked.latents and has_latents(run.family):
        parts["latents"] = _latents(run, data, asked)
    if asked.surprise and isinstance(run.family, HasPredictions) and isinstance(run.family.spec, Tokens):
        parts["surprise"] = _surprise(run, data, asked)
    return parts


def data_or_reason(
    run: Run, against: Any, notify: Callable[[str], None] = lambda _: None
) -> tuple[Prepared | None, str]:
    """The run's data, or None and why it cannot be had. What was asked for by `against` raises InputError instead."""
    try:
        data = run.data(against, notify)
    except InputError as e:
        if against is not None:
            raise
        return None, f"the training data is not there: {e}"
    if against is None and data.digest != run.manifest.get("data", {}).get("digest"):
        notify("the data has changed since the training: what is nearest may not be what the model saw")
    return data, ""


def document_of(parts: Mapping[str, Part]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        **{n: parts[n].document if n in parts else None for n in ("nearest", "latents", "surprise")},
    }


def for_report(run: Run, data: Prepared, notify: Callable[[str], None]) -> None:
    """Write explanation.json and its pictures into the run folder, where the report looks for them."""
    grid = isinstance(run.modality.spec, Grid)
    parts = explained(run, data, "", Asked(features=grid), notify)
    target = run.folder.samples / PICTURES
    shutil.rmtree(target, ignore_errors=True)
    for name, part in parts.items():
        for i, (row, strip) in enumerate(zip(part.document["rows"], part.strips, strict=False)):
            path = save_shown(strip, target / f"{name}-{i:02d}")
            row["picture"] = f"{run.folder.samples.name}/{PICTURES}/{path.name}"
    run.folder.write_json(EXPLANATION, document_of(parts))


# -- the nearest training examples --------------------------------------------------------------------------------


def _nearest(run: Run, data: Prepared, asked: Asked, notify: Callable[[str], None]) -> Part:
    spec = run.modality.spec
    if isinstance(spec, Tokens):
        return _nearest_texts(run, data, asked)
    if not isinstance(spec, Grid):
        return without("this kind of data has no distance")
    x = torch.stack([run.modality.encode(e) for e in asked.examples]) if asked.examples else None
    x = as_written(run.sample_tensor(asked.n, seed=asked.seed)[0] if x is None else x, spec)
    space = features_for(data, notify=notify) if asked.features else None
    near = nearest_on_grids(x, data, asked.k, space, asked.seed)
    equal = exactly(x, data.train, near.index[:, 0], np.zeros(len(x)))
    rows = [{**r, "exact": bool(e)} for r, e in zip(_rows(near, data, asked), equal, strict=True)]
    strips = []
    for i in range(len(x)):
        beside = data.train.batch(near.index[i]).x
        strip = run.modality.show([run.modality.decode(e) for e in (x[i], *beside)], asked.k + 1)
        strips += [strip] if isinstance(strip, Image) else []
    return Part({**_scale(near), "rows": rows}, strips)


def _rows(near: Nearby, data: Prepared, asked: Asked, places: bool = True) -> list[dict[str, Any]]:
    """places: the indices are examples of the training split, not pieces of a stream."""
    out = []
    for i in range(len(near.distance)):
        found = [
            {
                "training": int(j),
                "distance": round(float(d), 6),
                "origin": origin_of(data.train, int(j)) if places else "",
                "label": label_of(data, int(j)) if places else "",
            }
            for j, d in zip(near.index[i], near.distance[i], strict=True)
        ]
        name = asked.names[i] if i < len(asked.names) else f"sample {i}"
        out.append({"name": name, "held_out_nearer": near.nearer(i), "neighbours": found})
    return out


def _scale(near: Nearby) -> dict[str, Any]:
    held = {"count": len(near.usual), "quantiles": near.scale()}
    return {"space": near.space, "searched": near.searched, "held_out": held}


def _nearest_texts(run: Run, data: Prepared, asked: Asked) -> Part:
    spec, modality = run.modality.spec, run.modality
    assert isinstance(spec, Tokens)
    if asked.examples:
        rows = [modality.encode(e).numpy() for e in asked.examples]
        s = Sequences(spec, np.concatenate(rows), np.cumsum([0, *map(len, rows)]), None, list)
        s = as_pieces(s) if spec.stream else contents(s)
    else:
        options = {"max_tokens": PIECE} if spec.stream else {}
        s = contents(from_rows(run.sample_tensor(asked.n, seed=asked.seed, options=options)[0], spec))
    if not s.total:
        return without("the samples are empty texts")
    train = tokens_of(data.train, spec)
    held = [tokens_of(part, spec) for part in (data.validation, data.test) if len(part)]
    near = nearest_sequences(s, train, joined(held) if held else None, asked.k, asked.seed)
    some = as_pieces(beginning(train))
    training = Training.of(beginning(train), modality)
    runs = training.text.runs(s.tokens, s.starts)
    out = _rows(near, data, asked, not spec.stream)
    for i, row in enumerate(out):
        start = int(runs.start[i])
        row["text"] = _text(s, run, i)
        row["shared"] = _text(s, run, i, start, start + int(runs.length[i]))
        for found in row["neighbours"]:
            found["text"] = _text(some, run, found["training"])
    if asked.examples and spec.stream:  # one file may be several pieces
        for i, row in enumerate(out):
            row["name"] = f"piece {i}"
    what = f"pieces of {int(some.lengths[0])} tokens" if spec.stream else "examples"
    return Part({**_scale(near), "what": what, "rows": out})


def _text(s: Sequences, run: Run, i: int, first: int = 0, last: int | None = None) -> str:
    if last is not None and last <= first:
        return ""
    example = decoded(s, run.modality, i, first, last)
    text = example if isinstance(example, str) else " ".join(_units(run, example))
    short = "\n".join(text[:LONGEST].split("\n")[:LINES])
    return text if short == text else short + " …"


def _units(run: Run, example: Any) -> list[str]:
    assert isinstance(run.modality, Sequential)
    return run.modality.units(example)


# -- latents ------------------------------------------------------------------------------------------------------


def _latents(run: Run, data: Prepared | None, asked: Asked) -> Part:
    x, label, around = _real(run, data, asked)
    found = traversals(run.family, x, label)
    rows = [{"latent": t.latent, "activity": round(t.activity, 6), "spread": round(t.spread, 6)} for t in found.rows]
    strips: list[Shown] = [run.modality.show([run.modality.decode(e) for e in t.x], len(t.x)) for t in found.rows]
    document = {
        "around": around,
        "unit": found.unit,
        "steps": list(found.steps),
        "latents": found.total,
        "used": found.used,
        "rows": rows,
    }
    return Part(document, [s for s in strips if isinstance(s, Image)])


def _real(run: Run, data: Prepared | None, asked: Asked) -> tuple[Tensor | None, Tensor | None, str]:
    """Examples whose codes show how latents spread, the class of the first, and what the first is."""
    if not isinstance(run.family, HasLatent):
        label = run.label_indices(None, 1, asked.seed)
        return None, label, "a draw of noise"
    given = [run.modality.encode(e) for e in asked.examples[:1]]
    if data is None:
        x, label = run.sample_tensor(MEASURED, seed=asked.seed)
        around = "sample 0"
    else:
        held = reference_split(data)[0] if len(data.validation) + len(data.test) else data.train
        batch = held.batch(chosen(held, MEASURED, derive(asked.seed, "latents")))
        x, label = batch.x, batch.condition.label
        around = "a held-out example" if held is not data.train else "a training example"
    if given:
        x, label, around = torch.cat([given[0][None], x]), None, asked.names[0]
    return x, label, around


# -- surprise -----------------------------------------------------------------------------------------------------


def _surprise(run: Run, data: Prepared | None, asked: Asked) -> Part:
    rows = []
    for tokens, source, given, known in _excerpts(run, data, asked):
        found = surprise_of(run.family, run.modality, tokens, source, condition=given, known=known)
        rows.append(found.to_json())
    return Part({"vocabulary": getattr(run.modality.spec, "vocab", 0), "rows": rows})


def _excerpts(run: Run, data: Prepared | None, asked: Asked) -> list[tuple[list[int], str, Condition, int]]:
    """(tokens, where from, what it follows from, how many of the tokens are only context)."""
    spec, family = run.modality.spec, run.family
    assert isinstance(spec, Tokens)
    if asked.texts:
        return [(_begun(run, text), "given", Condition(), 1) for text in asked.texts]
    if data is None:
        options = {"max_tokens": EXCERPT} if spec.stream else {}
        s = from_rows(run.sample_tensor(EXCERPTS, seed=asked.seed, options=options)[0], spec)
        return [(_whole(s, i)[: EXCERPT + 1], f"sample {i}", Condition(), 1) for i in range(len(s)) if s.lengths[i] > 1]
    try:
        held, _ = held_out(data, spec)
    except InputError:
        return []
    if not spec.stream:
        some = drawn(held, EXCERPTS, derive(asked.seed, "surprise"))
        given = [some.batch(np.array([i])).condition for i in range(len(some))]
        return [(_whole(some, i)[: EXCERPT + 1], "held-out example", given[i], 1) for i in range(len(some))]
    before = max(1, min(getattr(family, "context", 256), 512))
    out: list[tuple[list[int], str, Condition, int]] = []
    for i in range(EXCERPTS):
        start = max(1, int((i + 0.5) / EXCERPTS * held.total) - EXCERPT // 2)
        known = min(before, start)
        row = held.tokens[start - known : min(held.total, start + EXCERPT)].astype(np.int64).tolist()
        if len(row) > known:
            out.append((row, "held-out text", Condition(), known))
    return out


def _begun(run: Run, text: str) -> list[int]:
    """The tokens of a text as a sample of it would be. Raises InputError for characters that the model lacks."""
    spec, modality = run.modality.spec, run.modality
    assert isinstance(spec, Tokens) and isinstance(modality, Sequential)
    tokens = modality.prompt(text)
    if not tokens:
        raise InputError("the text to explain is empty; give --text some characters")
    return [spec.bos, *tokens] + ([] if spec.stream else [spec.eos])


def _whole(s: Sequences, i: int) -> list[int]:
    row: list[int] = s.tokens[s.starts[i] : s.starts[i + 1]].astype(np.int64).tolist()
    return row


# -- one picture for a person ---------------------------------------------------------------------------------------


def pictured(name: str, part: Part) -> Image | None:
    """All rows of a part as one picture; None where they are text."""
    if not part.strips:
        return None
    rows: Sequence[dict[str, Any]] = part.document["rows"]
    if name == "latents":
        steps = part.document["steps"]
        titles = [(f"latent {r['latent']}", activity(r, part.document)) for r in rows]
        drawn_rows = [PanelRow(s, t) for s, t in zip(part.strips, titles, strict=True)]
        return panel(drawn_rows, len(steps), [f"{s:+.1f} sd" if s else "as it is" for s in steps])
    drawn_rows = [
        PanelRow(s, (f"{i}", nearer_of(r)), ("", *(number(n["distance"]) for n in r["neighbours"])))
        for i, (s, r) in enumerate(zip(part.strips, rows, strict=True))
    ]
    k = len(rows[0]["neighbours"])
    return panel(drawn_rows, k + 1, ["it", *(f"nearest {j}" for j in range(1, k + 1))])


def nearer_of(row: Mapping[str, Any]) -> str:
    share = row["held_out_nearer"]
    if row.get("exact"):
        return "equals a training example"
    return "" if share is None else f"held-out nearer: {share:.0%}"
