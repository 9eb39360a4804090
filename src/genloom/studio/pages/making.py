"""Samples of the playground: what a run can be asked for, and the files that come of it, each with its mark."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import math
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloom.core.batch import Property
from genloom.core.config import validate
from genloom.core.errors import InputError, Unreadable
from genloom.core.family import HasLatent, HasSteps
from genloom.core.files import write_atomic
from genloom.core.modality import Completes, HasTraits, Repairs, Sequential
from genloom.core.spec import KINDS, Row, Tokens
from genloom.evaluate.traversals import has_latents, traversals
from genloom.provenance import Mark, light
from genloom.run.generate import file_part, save_shown
from genloom.run.latents import centre, moved_of
from genloom.run.rows import put_rows, table_of, write_rows
from genloom.studio.pages.form import Field, fields, given
from genloom.studio.pages.workspace import Missing

if TYPE_CHECKING:
    from genloom.provenance import Marker
    from genloom.run import Run

MOST, MOST_ROWS, KEPT = 64, 10_000, 24  # samples and rows of a table at once; batches kept of a run
TEXT, WORDS = 20_000, 4_000  # characters of a text that a page shows, and of what it may ask for
LATENTS = 8  # sliders
BATCH = "batch.json"
SEEDS = 2**31


@dataclass(frozen=True)
class Abilities:
    """What a run can be asked for. prompt, suffix: samples can be begun and ended with a text. stream: they come piece
    by piece. voices: of music, of which some can be given. where: rows of a table that meet conditions. fill: holes of
    a table can be filled. traits: those that every sample can be made to show, by repairs if need be."""

    classes: tuple[str, ...]
    properties: tuple[Property, ...]
    source: bool
    prompt: bool
    suffix: bool
    stream: bool
    voices: int
    where: bool
    fill: bool
    traits: tuple[str, ...]
    repair: bool
    latents: bool
    ways: bool
    options: list[Field]


def abilities(run: Run) -> Abilities:
    family, honoured = run.family, run.family.honours()
    steps = isinstance(family.spec, Tokens) and isinstance(family, HasSteps)
    # A prompt that is the path of a file is none here: no request names files.
    prompt = steps and isinstance(run.modality, Sequential) and not run.modality.prompt_is_file
    completes = steps and isinstance(run.modality, Completes)
    return Abilities(
        run.classes if "label" in honoured else (),
        run.condition.properties if "properties" in honoured else (),
        "source" in honoured,
        prompt,
        prompt and bool(getattr(family.config, "infill", 0)),
        prompt and run.modality.shows_text,
        getattr(getattr(run.modality, "code", None), "voices", 0) if completes else 0,
        isinstance(family.spec, Row),
        isinstance(family.spec, Row) and "known" in honoured,
        tuple(run.modality.traits()) if isinstance(run.modality, HasTraits) else (),
        isinstance(run.modality, Repairs),
        has_latents(family),
        isinstance(family, HasLatent),
        [f for f in fields(type(family).Options, "") if not f.form or isinstance(family.spec, KINDS[f.form])],
    )


@dataclass(frozen=True)
class Wish:
    """What a page asks for, checked. label, source: None where nothing is said. known: a file of which the parts `keep`
    are kept and the others filled in; fill: a table whose holes are filled, and what its file is called."""

    n: int
    label: str | None
    seed: int
    options: dict[str, Any]
    prompt: str
    stop: tuple[str, ...]
    properties: dict[str, float]
    source: str | None
    where: str | None = None
    only: str | None = None
    repair: bool = False
    suffix: str = ""
    known: bytes | None = None
    keep: str = "1"
    fill: tuple[str, bytes] | None = None


def wish(run: Run, asked: Mapping[str, Any]) -> Wish:
    """Raises InputError for what cannot be asked for."""
    can = abilities(run)
    options = given({k: str(v) for k, v in _mapping(asked.get("options")).items()}, can.options)
    validate(type(run.family).Options, options, "options")
    properties = {k: _float(v, k) for k, v in _mapping(asked.get("properties")).items() if str(v).strip()}
    source, prompt = _text(asked.get("source")), _text(asked.get("prompt"))
    label = str(asked["label"]) if asked.get("label") else None
    return Wish(
        whole(asked.get("n", 1), "the number of samples", 1, most(run)), label,
        whole(asked.get("seed", 0), "the seed", 0, SEEDS), options, prompt if can.prompt else "",
        (_text(asked["stop"]),) if asked.get("stop") else (), properties, source if can.source and source else None,
        _text(asked.get("where")) or None if can.where else None, str(asked["only"]) if asked.get("only") else None,
        bool(asked.get("repair")) and can.repair, _text(asked.get("suffix")) if can.suffix else "",
        _file(asked["known"])[1] if asked.get("known") and can.voices else None,
        _text(asked.get("keep")).strip() or "1", _file(asked["fill"]) if asked.get("fill") and can.fill else None,
    )  # fmt: skip


def most(run: Run) -> int:
    """Samples that can be drawn at once."""
    return MOST_ROWS if isinstance(run.family.spec, Row) else MOST


def whole(value: Any, what: str, low: int, high: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = low - 1
    if not low <= number <= high:
        raise InputError(f"{what} is a whole number from {low:,} to {high:,}, got {str(value)[:40]!r}")
    return number


def _float(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what[:40]} is a number, got {str(value)[:40]!r}")
    return number


def _text(value: Any) -> str:
    text = "" if value is None else str(value).replace("\r\n", "\n")  # as browsers send line breaks
    if len(text) > WORDS:
        raise InputError(f"a text of at most {WORDS:,} characters can be given, this one has {len(text):,}")
    return text


def _file(value: Any) -> tuple[str, bytes]:
    """The name and the contents of a file that a page sends."""
    try:
        data = base64.b64decode(value["data"], validate=True)
        return str(value["name"]), data
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise InputError("a file is sent as its name and its contents in base64") from None


def _mapping(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else {}


def _asked(run: Run, w: Wish, grid: bool) -> dict[str, Any]:
    """What a record says of samples, as `genloom reproduce` reads it."""
    options = validate(type(run.family).Options, w.options, "options").model_dump(mode="json")
    return {
        "n": w.n, "label": w.label, "seed": w.seed, "options": options, "grid": grid, "prompt": w.prompt,
        "suffix": w.suffix,
        "stop": list(w.stop), "properties": w.properties, "source": w.source, "only": w.only, "repair": w.repair,
    }  # fmt: skip


class Made:
    """Batches that were made with a run, a folder each with its batch.json, the last KEPT of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """The last one first."""
        found = [p.parent for p in self.folder.glob(f"*/{BATCH}")]
        return [p.name for p in sorted(found, key=lambda p: (p / BATCH).stat().st_mtime_ns, reverse=True)]

    def batch(self, name: str) -> dict[str, Any]:
        """Raises Missing."""
        try:
            found: dict[str, Any] = json.loads((self.folder / name / BATCH).read_text("utf-8"))
        except (OSError, ValueError):
            raise Missing("these samples are not here any more; draw them again") from None
        return found

    def begin(self) -> Path:
        """The folder of a new batch; the oldest are given up."""
        for old in self.names()[KEPT - 1 :]:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder

    def end(self, folder: Path, **told: Any) -> dict[str, Any]:
        """Note what is in a batch. Returns it."""
        files = [
            {"name": p.name, "size": p.stat().st_size}
            for p in sorted(folder.iterdir())
            if p.is_file() and not p.name.startswith(".") and p.name != BATCH
        ]
        batch = {"id": folder.name, "files": files, **told}
        write_atomic(folder / BATCH, json.dumps(batch, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return batch

    def archive(self, name: str) -> bytes:
        """All files of a batch with their signed record. Raises Missing."""
        out, batch = io.BytesIO(), self.batch(name)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            for file in batch["files"]:
                z.write(self.folder / name / file["name"], file["name"])
        return out.getvalue()


def _write(run: Run, examples: list[Any], folder: Path, labels: Any, marker: Marker) -> None:
    """Each example as a file of its own, with its mark and their record."""
    names = [None if labels is None else run.classes[int(k)] for k in labels] if labels is not None else []
    stems = [f"{i:06d}-{file_part(names[i] or '')}" if names else f"{i:06d}" for i in range(len(examples))]
    marker.places = {s: (i, names[i] if names else None) for i, s in enumerate(stems)}
    run.modality.write(examples, folder, stems, marker)
    marker.record(folder)


def samples(run: Run, made: Made, w: Wish) -> dict[str, Any]:
    """Draw and write samples: a file each, and all of them as people look at them."""
    if isinstance(run.family.spec, Row):
        return _rows(run, made, w)
    if w.known is not None:
        return _completed(run, made, w, w.known)
    notices: list[str] = []
    marker = run.marker("sample", _asked(run, w, False), notify=notices.append)
    labels = run.label_indices(w.label, w.n, w.seed)
    examples = run.sample(
        w.n, label=w.label, seed=w.seed, options=w.options, prompt=w.prompt, suffix=w.suffix, stop=w.stop,
        properties=w.properties, source=w.source, only=w.only, repair=w.repair, notify=notices.append,
    )  # fmt: skip
    folder = made.begin()
    _write(run, examples, folder, labels, marker)
    sheet = run.marker("sample", _asked(run, w, True))
    shown = save_shown(run.modality.show(examples), folder / "all", sheet)
    sheet.record(folder)
    texts = [e[:TEXT] for e in examples] if run.modality.shows_text else []
    return made.end(folder, task="sample", asked=_asked(run, w, False), sheet=shown.name, texts=texts, notices=notices)


def _completed(run: Run, made: Made, w: Wish, known: bytes) -> dict[str, Any]:
    """Pieces in which some voices of a given one are kept."""
    if w.only is not None or w.repair:
        raise InputError("a piece with given voices is drawn as it comes; leave the wish for a trait out")
    try:
        examples = run.complete(known, w.keep, w.n, label=w.label, seed=w.seed, options=w.options)
    except Unreadable as e:
        raise InputError(f"the piece whose voices are kept cannot be read: {e}") from None
    told = {"known": hashlib.sha256(known).hexdigest(), "keep": w.keep, "files": run.files}
    marker = run.marker("complete", {**_asked(run, w, False), **told})
    folder = made.begin()
    _write(run, examples, folder, None, marker)
    asked = {"n": w.n, "seed": w.seed, "label": w.label, "keep": w.keep}
    return made.end(folder, task="complete", asked=asked, sheet="", texts=[], notices=[])


def _rows(run: Run, made: Made, w: Wish) -> dict[str, Any]:
    """Rows of a table as one file: new ones, or given ones with their holes filled."""
    ending = _checked(w)
    options = validate(type(run.family).Options, w.options, "options")
    told = {"n": w.n, "seed": w.seed, "options": options.model_dump(mode="json"), "where": w.where}
    told["fill"] = None if w.fill is None else hashlib.sha256(w.fill[1]).hexdigest()
    notices: list[str] = []
    marker = run.marker("rows", {**told, "ending": ".csv"}, notify=notices.append)
    folder = made.begin()
    with tempfile.TemporaryDirectory(prefix="genloom-") as place:
        holes = None
        if w.fill is not None:
            holes = Path(place) / f"holes{ending}"
            holes.write_bytes(w.fill[1])
        write_rows(
            run, w.n, folder / "rows.csv", marker, where=w.where, fill=holes, seed=w.seed, options=options,
            notify=notices.append,
        )  # fmt: skip
    marker.record(folder)
    return made.end(folder, task="fill" if w.fill else "rows", asked=told, sheet="", texts=[], notices=notices)


def _checked(w: Wish) -> str:
    """The ending of the table whose gaps are filled, "" where there is none. Raises InputError."""
    if w.fill is None:
        return ""
    name, data = w.fill
    ending = Path(name).suffix.lower()
    if ending not in (".csv", ".tsv"):
        raise InputError(f"a table with gaps is a .csv or .tsv file here, got {name[:60]!r}")
    if w.where:
        raise InputError("rows that are given are filled as they are; leave the conditions out")
    if data.count(b"\n") > MOST_ROWS:
        raise InputError(f"{MOST_ROWS:,} rows can be filled at once here; genloom sample --fill takes any number")
    return ending


def streamed(run: Run, made: Made, w: Wish) -> Iterator[dict[str, Any]]:
    """The pieces of one text as they come, and at the end the batch that holds it."""
    if w.suffix:
        raise InputError("word by word a text cannot be led to a given end; draw it at once")
    notices: list[str] = []
    w = Wish(1, w.label, w.seed, w.options, w.prompt, w.stop, w.properties, w.source)
    labels = run.label_indices(w.label, 1, w.seed)
    marker = run.marker("sample", _asked(run, w, False))
    pieces = [w.prompt]
    for piece in run.stream(
        w.prompt, label=w.label, seed=w.seed, options=w.options, stop=w.stop, properties=w.properties, source=w.source,
        notify=notices.append,
    ):  # fmt: skip
        pieces.append(piece)
        yield {"piece": piece}
    folder = made.begin()
    _write(run, ["".join(pieces)], folder, labels, marker)
    asked = _asked(run, w, False)
    yield {
        "batch": made.end(folder, task="sample", asked=asked, sheet="", texts=["".join(pieces)[:TEXT]], notices=notices)
    }


def ways(run: Run, made: Made, w: Wish, steps: int, rows: int) -> dict[str, Any]:
    """Ways between samples in latent space, a row each; of tables one after the other in a file."""
    asked: dict[str, Any] = {"n": steps, "rows": rows, "seed": w.seed, "label": w.label, "between": []}
    if isinstance(run.family.spec, Row):
        import pandas as pd

        asked |= {"label": None, "ending": ".csv"}
        marker = run.marker("interpolate", asked)
        frame = pd.concat(run.interpolate(steps, rows=rows, seed=w.seed), ignore_index=True)
        folder = made.begin()
        put_rows(table_of(run), [frame], folder / "rows.csv", marker)
        marker.record(folder)
        return made.end(folder, task="interpolate", asked=asked, sheet="", texts=[], notices=[])
    marker = run.marker("interpolate", asked)
    found = run.interpolate(steps, rows=rows, seed=w.seed, label=w.label)
    folder = made.begin()
    shown = save_shown(run.modality.show([e for way in found for e in way], steps), folder / "ways", marker)
    marker.record(folder)
    texts = ["\n".join(way) for way in found] if run.modality.shows_text else []
    return made.end(folder, task="interpolate", asked=asked, sheet=shown.name, texts=texts, notices=[])


# -- latents ------------------------------------------------------------------------------------------------------


def sliders(run: Run, w: Wish) -> list[dict[str, Any]]:
    """The most active latents: which, how much each does, and its spread."""
    _, x, label = centre(run, w.seed, w.label)
    found = traversals(run.family, x, label, most=LATENTS, steps=2, seed=w.seed)
    return [{"latent": r.latent, "activity": r.activity, "spread": r.spread, "unit": found.unit} for r in found.rows]


def moved(run: Run, w: Wish, moves: Mapping[str, Any], spreads: Mapping[str, Any], made: Made | None) -> dict[str, Any]:
    """The sample whose code has latents moved. moves, spreads: by latent, in standard deviations and their size.

    Without `made` it comes as a marked picture or text in the answer; else it is written as a batch. Raises InputError.
    """
    by = {}
    for key, move in moves.items():
        far = max(-6.0, min(6.0, _float(move, "a move")))
        by[str(key)] = far * _float(spreads.get(key, 1), "a spread")
    example = moved_of(run, w.seed, w.label, by)
    asked = {"seed": w.seed, "label": w.label, "moves": by}
    if made is not None:
        folder = made.begin()
        _write(run, [example], folder, None, run.marker("latents", asked))
        texts = [example[:TEXT]] if run.modality.shows_text else []
        return made.end(folder, task="latents", asked=asked, sheet="", texts=texts, notices=[])
    shown = run.modality.show([example])
    if isinstance(shown, str):
        return {"text": shown[:TEXT]}
    data = io.BytesIO()
    shown.save(data, "PNG")
    finish = light(Mark(run.name, "latents", seed=w.seed, label=w.label))
    return {"picture": base64.b64encode(finish(Path("moved.png"), data.getvalue())).decode()}
