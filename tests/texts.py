"""Texts to prepare, and what came of them, for tests of reading text."""

import csv
import io
from pathlib import Path

from genloom.core.config import DataConfig
from genloom.data.prepare import Prepared, prepare

NAMES = [f"{a}{b}{c}" for a in ("Al", "Ber", "Car", "Dor", "Ed") for b in ("a", "o", "i") for c in ("n", "ne", "lia")]
PROSE = "".join(f"Chapter {i}\n\nIt was the {i}th day, and the rain had not stopped.\n\n" for i in range(60))
COLOURS = ["red", "green", "blue", "grey"]
THREE_COLOURS = [f"{a} {b} {c}" for a in COLOURS for b in COLOURS for c in COLOURS]
SMALL_TRANSFORMER = {
    "family.width": 16, "family.heads": 2, "family.depth": 1, "family.context": 16, "family.ngram_rows": 64,
    "family.dropout": 0.0, "train.batch": 8, "train.grids": 0, "train.precision": "fp32", "modality.unit": "line",
    "train.validate_times": 0, "train.warmup": 2,
}  # fmt: skip
POEMS = "舊國雲山外，新年風雪中。\n夜來愁不寐，獨坐聽寒鐘。\n"


def ready(data: object, config: DataConfig | None = None, kind: str | None = None, **settings: object) -> Prepared:
    return prepare(data, kind, settings, config or DataConfig())


def parts(p: Prepared) -> list[list[str]]:
    return [[p.modality.decode(b.x[0]) for b in s.batches(1)] for s in (p.train, p.validation, p.test)]


def texts(p: Prepared) -> list[str]:
    return sorted(t for part in parts(p) for t in part)


def flat(p: Prepared) -> str:
    return "".join("".join(part) for part in parts(p))


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(path: Path, header: list[str], body: list[list[object]], delimiter: str = ",") -> Path:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([header, *body] if header else body)
    return put(path, out.getvalue())
