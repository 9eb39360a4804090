"""explanation.json of a run as the report shows it: nearest training examples, latents, surprise of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from genloom.evaluate.pictures import Picture, embed
from genloom.evaluate.story import mapping
from genloom.evaluate.surprise import LEVELS, SHADES, shade
from genloom.evaluate.units import number

SCHEMA = "genloom.explanation/1"
EXPLANATION = "explanation.json"
WIDEST = 900  # pixels of a strip
LOUDEST = 6  # most surprising tokens listed
BEFORE = 12  # tokens before each of them
BESIDE = 2  # training texts beside a sample
ROOM = 1.15  # of the largest distance, to the right end of the scale


@dataclass(frozen=True)
class Strip:
    """A row of pictures, or why there is none."""

    picture: Picture | None
    alt: str


@dataclass(frozen=True)
class Gauge:
    """Places on a scale of distances from 0 to `end`, in % of its width: those of the middle 80% of held-out examples
    and of the example."""

    low: float
    high: float
    dot: float


def explanation_of(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template shows of each part, or an empty mapping where the file is missing or of another schema."""
    if document.get("schema") != SCHEMA:
        return {}
    return {
        "nearest": _nearest(mapping(document.get("nearest")), folder),
        "latents": _latents(mapping(document.get("latents")), folder),
        "surprise": _surprise(mapping(document.get("surprise"))),
        "shades": _legend(),
    }


def _strip(row: Mapping[str, Any], folder: Path, alt: str) -> Strip:
    name = str(row.get("picture") or "")
    inside = name.startswith("samples/") and ".." not in name
    return Strip(embed(folder / name, alt, WIDEST) if inside else None, alt)


def _nearest(part: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    rows = [r for r in part.get("rows") or [] if isinstance(r, dict) and r.get("neighbours")]
    if not rows:
        return {}
    held = mapping(part.get("held_out"))
    quantiles = {str(q): float(v) for q, v in mapping(held.get("quantiles")).items()}
    farthest = max([r["neighbours"][0]["distance"] for r in rows] + [quantiles.get("0.9", 0.0)])
    end = ROOM * farthest or 1.0
    out = []
    for r in rows:
        distances = [n["distance"] for n in r["neighbours"]]
        strip = _strip(r, folder, f"{r['name']} and its {len(distances)} nearest training examples")
        low, high = quantiles.get("0.1"), quantiles.get("0.9")
        gauge = None
        if low is not None and high is not None:
            gauge = Gauge(*(round(100 * v / end, 2) for v in (low, high, distances[0])))
        before, shared, after = _around(str(r.get("text", "")), str(r.get("shared", "")))
        out.append(
            {
                "name": r["name"],
                "strip": strip,
                "distances": [number(d) for d in distances],
                "nearer": r.get("held_out_nearer"),
                "exact": bool(r.get("exact")),
                "gauge": gauge,
                "text": (before, shared, after) if "text" in r else None,
                "beside": [
                    {
                        "text": n["text"],
                        "distance": number(n["distance"]),
                        "origin": str(n.get("origin", "")).rsplit("/", 1)[-1],
                    }
                    for n in r["neighbours"][:BESIDE]
                    if "text" in n
                ],
            }
        )
    return {
        "rows": out,
        "space": part.get("space", ""),
        "what": part.get("what", "examples"),
        "searched": part.get("searched"),
        "held_out": held.get("count"),
        "tenth": number(quantiles["0.1"]) if "0.1" in quantiles else "",
        "half": number(quantiles["0.5"]) if "0.5" in quantiles else "",
    }


def _around(text: str, run: str) -> tuple[str, str, str]:
    before, found, after = text.partition(run) if run else (text, "", "")
    return before, found, after


def _latents(part: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    rows = []
    for r in part.get("rows") or []:
        strip = _strip(r, folder, f"latent {r['latent']} moved from -2 to +2 standard deviations")
        if strip.picture is not None:
            rows.append({"latent": r["latent"], "activity": activity(r, part), "strip": strip})
    return {**part, "rows": rows} if rows else {}


def activity(row: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """What a latent carries, with its unit."""
    return f"{row['activity']:.2f} nats" if part["unit"] == "nats" else f"{row['activity']:.1%} of the change"


def _surprise(part: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for r in part.get("rows") or []:
        known = r.get("pieces") or []
        pieces = [
            {
                **p,
                "shade": shade(p["nats"]),
                "words": _words(p),
                "before": "".join(q["text"] for q in known[max(0, i - BEFORE) : i]),
            }
            for i, p in enumerate(known)
        ]
        loud = sorted(pieces, key=lambda p: -p["nats"])[:LOUDEST]
        rows.append({**r, "pieces": pieces, "loud": loud})
    return {"rows": rows, "vocabulary": part.get("vocabulary")} if rows else {}


def _words(piece: Mapping[str, Any]) -> str:
    return f"{piece['nats']:.2f} nats, rank {piece['rank']:,}"


def visible(text: str) -> str:
    """With white space to be seen; the end of a text has no characters."""
    return text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") or "end"


def _legend() -> list[tuple[int, str]]:
    """(shade, words)."""
    edges = [f"up to {LEVELS[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(LEVELS))]
    return [
        (i, f"{name}: {edge} nats")
        for i, (name, edge) in enumerate(zip(SHADES, [*edges, f"over {LEVELS[-1]:g}"], strict=True))
    ]
