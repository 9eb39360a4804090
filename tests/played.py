"""Runs of a few steps of every kind, to play with."""

from __future__ import annotations

from pathlib import Path

from genloom import api
from scores import write_chorales

NAMES = [
    f"{a}{b}{c}"
    for a in ("an", "ber", "cor", "dal", "el")
    for b in ("na", "ta", "we")
    for c in ("mir", "os", "n", "le")
]


def train(runs: Path) -> None:
    """digits (a vae with classes), gan, names, people (a table), molecules, ruins (levels), music in a folder."""
    small = {"train.batch": 16, "train.grids": 1}
    (runs.parent / "names.txt").write_text("\n".join(NAMES))
    api.train("digits", model="vae", steps=3, settings=small, out=runs / "digits")
    api.train("digits", model="gan", steps=1, settings={**small, "family.width": 8}, out=runs / "gan")
    people = [f"{20 + 7 * i % 40},{'AB'[i % 2]},{'red' if i % 3 else 'blue'}" for i in range(120)]
    (runs.parent / "people.csv").write_text("\n".join(["age,city,colour", *people]))
    api.train(runs.parent / "people.csv", model="forest", out=runs / "people")
    cell = {**small, "family.cell": "gru", "family.width": 16, "family.hidden": 32, "family.infill": 0.5}
    for name, data in (
        ("names", runs.parent / "names.txt"),
        ("molecules", "simple-molecules"),
        ("ruins", "ruins"),
        ("music", write_chorales(runs.parent)),
    ):
        api.train(data, model="autoregressive", steps=8, settings=cell, out=runs / name)
