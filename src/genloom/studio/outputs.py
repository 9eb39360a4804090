"""Samples as files with their marks, in memory: what the native route and the one for images give out."""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.core.spec import Row
from genloom.provenance.record import PREFIX
from genloom.run import Run
from genloom.run.generate import file_part
from genloom.run.requests import Ready, examples_of
from genloom.run.rows import put_rows, table_of

TYPES = {
    ".smi": "chemical/x-daylight-smiles", ".sdf": "chemical/x-mdl-sdfile", ".mid": "audio/midi", ".wav": "audio/wav",
    ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".json": "application/json",
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """A file. index: of its sample; None where it holds several."""

    name: str
    data: bytes
    index: int | None

    @property
    def media_type(self) -> str:
        suffix = Path(self.name).suffix.lower()
        return TYPES.get(suffix) or mimetypes.guess_type(self.name)[0] or "application/octet-stream"


@dataclass(frozen=True)
class Outputs:
    """files: of the samples, in order. texts: the samples where they are text. labels: of each sample, if it has one.
    record: their signed record. rows: of a table, cells as a text file has them."""

    files: list[Output]
    texts: list[str] | None
    labels: list[str | None]
    record: dict[str, Any]
    rows: list[dict[str, Any]] | None = None

    def packed(self, name: str) -> Output:
        """One file of all: itself where there is one, else a zip with the record."""
        if len(self.files) == 1:
            return self.files[0]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in self.files:
                archive.writestr(file.name, file.data)
            archive.writestr(f"{PREFIX}record.json", json.dumps(self.record, ensure_ascii=False, indent=1))
        return Output(f"{name}.zip", packed.getvalue(), None)


def outputs_of(run: Run, ready: Ready, x: Any, only: Sequence[str] | None = None) -> Outputs:
    """The samples x of a request as marked files. only: endings that are wanted, None for all. Written to a folder that
    is gone afterwards: the formats' writers take folders."""
    if isinstance(run.family.spec, Row):
        return _rows(run, ready, x)
    r, labels = ready.request, ready.labels
    asked: dict[str, Any] = {
        "n": r.n, "label": plain(r.label), "seed": r.seed, "options": ready.options.model_dump(mode="json"),
    }  # fmt: skip
    if r.known is None:
        told = {"properties": dict(r.properties or {}), "source": plain(r.source)}
        asked |= {"grid": False, "prompt": r.prompt, "suffix": r.suffix, "stop": list(r.stop), **told}
    else:
        asked |= {"known": hashlib.sha256(r.known).hexdigest(), "keep": r.keep}
    marker = run.marker("sample" if r.known is None else "complete", asked)
    names: list[str | None] = [None] * r.n if labels is None else [run.classes[k] for k in labels]
    stems = [f"{i:06d}" if name is None else f"{i:06d}-{file_part(name)}" for i, name in enumerate(names)]
    marker.places = {stem: (i, name) for i, (stem, name) in enumerate(zip(stems, names, strict=True))}
    examples = examples_of(run, ready, x)
    with tempfile.TemporaryDirectory(prefix="genloom-") as folder:
        run.modality.write(examples, Path(folder), stems, marker)
        record = marker.record(Path(folder))
        document = {} if record is None else json.loads(record.read_bytes())
        paths = sorted(p for p in Path(folder).rglob("*") if p.is_file() and p != record)
        wanted = [p for p in paths if only is None or p.suffix.lower() in only]
        places = {stem: i for i, stem in enumerate(stems)}
        files = [Output(str(p.relative_to(folder)), p.read_bytes(), places.get(p.stem)) for p in wanted]
    texts = [str(e) for e in examples] if run.modality.shows_text else None
    return Outputs(files, texts, names, document)


def _rows(run: Run, ready: Ready, frame: Any) -> Outputs:
    """Rows of a table as one CSV file."""
    r, table = ready.request, table_of(run)
    told = {"n": r.n, "seed": r.seed, "options": ready.options.model_dump(mode="json"), "where": r.where, "fill": None}
    marker = run.marker("rows", {**told, "ending": ".csv"})
    with tempfile.TemporaryDirectory(prefix="genloom-") as folder:
        path = put_rows(table, [frame], Path(folder) / "rows.csv", marker)
        record = marker.record(Path(folder))
        document = {} if record is None else json.loads(record.read_bytes())
        files = [Output(path.name, path.read_bytes(), None)]
    return Outputs(files, None, [], document, table.as_text(frame).to_dict("records"))


def plain(value: Any) -> Any:
    """What is told of a condition in a record: a file by its digest."""
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
