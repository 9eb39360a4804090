"""An inspection as one HTML file that asks nothing of any server, in the style of the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from genloom.core.errors import InputError
from genloom.core.files import write_atomic
from genloom.core.finding import Fact
from genloom.core.modality import Modality
from genloom.core.modality import Shown as ShownAs
from genloom.core.spec import Grid, Tokens
from genloom.evaluate.pictures import Picture, drawn
from genloom.evaluate.report import templates
from genloom.evaluate.units import duration, integer, number
from genloom.inspection.result import Inspection, Shown

WIDEST = 320  # pixels of a picture of a group of examples
EXCERPT = 300  # characters of a text
MOST_ROWS = 60  # classes or unreadable files listed
SPREAD = {"least", "5%", "median", "95%", "most"}


@dataclass(frozen=True)
class Panel:
    """A group of examples as a page shows it."""

    picture: Picture | None
    texts: tuple[str, ...]
    origins: tuple[str, ...]
    quote: str


@dataclass(frozen=True)
class Row:
    """A counted thing: its name, number and share of the largest in %."""

    name: str
    count: int
    share: float


def write_page(found: Inspection, path: Path, preview: ShownAs | None = None) -> Path:
    """Write the page and return its path. preview: augmented examples.

    Raises InputError for a path that cannot be a file, GenloomError when it cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"cannot be written: there is no folder {path.parent}"
        raise InputError(f"{path} {why}; give the name of a file, as in --html data.html")
    html = render(found, preview)
    write_atomic(path, html.encode())
    return path


def render(found: Inspection, preview: ShownAs | None = None) -> str:
    """The page as HTML."""
    return (
        templates("genloom.inspection")
        .get_template("inspection.html.j2")
        .render(
            found=found,
            headline=headline(found),
            top=_top(found),
            findings=[(f, [p for g in f.groups if (p := _panel(g, found))]) for f in found.findings],
            prefix=found.prefix(),
            classes=_rows(found.classes)[:MOST_ROWS],
            lines=[(f.name, said(f)) for f in found.facts if not _is_counts(f)],
            tables=[(f.name, f.unit, _rows(f.value)[:MOST_ROWS]) for f in found.facts if _is_counts(f)],
            estimate=estimate_lines(found),
            preview=drawn(preview, "augmented", 1600) if isinstance(preview, Image.Image) else None,
            most=MOST_ROWS,
        )
    )


def headline(found: Inspection) -> str:
    """One sentence: whether it can be trained on, and how many findings there are."""
    counts = [f"{n} {s}{'' if n == 1 else 's'}" for s, n in found.counts().items() if n]
    state = "This data can be trained on" if found.usable else "This data cannot be trained on"
    return f"{state}: {', '.join(counts) or 'nothing was found that needs mending'}."


def _top(found: Inspection) -> list[tuple[str, str]]:
    pairs = [(found.noun, integer(found.readable)), ("unreadable", integer(len(found.broken)))]
    pairs += [(name, integer(n)) for name, n in found.splits.items()]
    if found.classes:
        pairs.append(("classes", integer(len(found.classes))))
    return [(k, v) for k, v in pairs if v != "0" or k == found.noun]


def _is_counts(fact: Fact) -> bool:
    return not isinstance(fact.value, int | float | str) and set(fact.value) != SPREAD


def said(fact: Fact) -> str:
    """A fact's value as people read it."""
    value = fact.value
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | float):
        text = integer(value)
    elif set(value) == SPREAD:
        text = " · ".join(f"{name} {_figure(v)}" for name, v in value.items())
    else:
        text = " · ".join(f"{name} {v:,}" for name, v in value.items())
    return f"{text} ({fact.unit})" if fact.unit else text


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else number(value)


def _rows(counts: Any) -> list[Row]:
    most = max(counts.values(), default=1) or 1
    return [Row(name, n, round(100 * n / most, 2)) for name, n in counts.items()]


def _panel(group: Shown, found: Inspection) -> Panel | None:
    """None for a group that has nothing to show but what other places say."""
    texts = tuple(e[:EXCERPT] + (" …" if len(e) > EXCERPT else "") for e in group.examples if isinstance(e, str))
    picture, modality = None, found.modality
    if group.examples and not texts and modality is not None:
        shown = modality.show(group.examples, columns=len(group.examples))
        picture = drawn(shown, group.quote, WIDEST) if isinstance(shown, Image.Image) else None
        texts = (shown,) if isinstance(shown, str) else ()
    origins = tuple(o.removeprefix(found.prefix()) for o in group.origins)
    return Panel(picture, texts, origins, group.quote) if picture or texts or group.quote else None


def estimate_lines(found: Inspection) -> list[tuple[str, str]]:
    """What a training would take, as people read it."""
    e = found.estimate
    if not e:
        return []
    recipe, tested = e["recipe"], e["tested"]
    spec = "" if found.modality is None else _spec(found.modality)
    pairs = [
        ("model", e["model"] + (f", recipe {recipe['name']}" if recipe else "")),
        (found.noun, f"{e['train']:,} to train, {e['validation']:,} to validate, {e['test']:,} to test"),
        ("seen as", spec),
        ("tokens to train on", integer(e["tokens"])),
        ("prepared data", f"{e['bytes'] / 1e6:,.1f} MB"),
    ]
    if e["steps"]:
        pairs += [
            ("parameters", integer(e["parameters"])),
            ("speed here", f"{e['seconds_per_step']:.3g} s a step of {e['batch']:,} examples"),
            (
                "training",
                f"{e['steps']:,} steps in {duration(e['seconds'])}; the data is seen {e['rounds']:,.3g} times",
            ),
        ]
    else:
        pairs.append(("training", f"fitted in one go, about {duration(e['seconds'])}"))
    if recipe and recipe["score"]:
        pairs.append((f"{recipe['name']} reached", f"{recipe['score']} ({recipe['data']}, {recipe['time']})"))
    others = [r for r in tested if not recipe or r["name"] != recipe["name"]]
    pairs += [(f"tested: {r['name']}", f"{r['score']} ({r['time']})".strip()) for r in others]
    return [(k, v) for k, v in pairs if v]


def _spec(modality: Modality[Any]) -> str:
    spec = modality.spec
    if isinstance(spec, Grid):
        channels = "1 channel" if spec.channels == 1 else f"{spec.channels} channels"
        return f"{' x '.join(map(str, spec.size))} values in {channels}"
    if isinstance(spec, Tokens):
        most = "" if spec.stream else f", at most {spec.length:,} an example"
        return f"tokens of a vocabulary of {spec.vocab:,}{most}"
    return f"{spec.width} entries a row"
