"""What a table's columns hold and what is wrong with them, before a training: `genloom inspect` of a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genloom.core.finding import SHOWN, Fact, Finding
from genloom.data.cells import Cells, Kind, dates_of, is_missing, is_text, kind_of, numbers_of
from genloom.data.codecs import MOST_SPIKES, SPIKE
from genloom.data.frames import Reading
from genloom.data.items import count, listing

if TYPE_CHECKING:
    import pandas as pd

MOST_FACTS = 60  # columns that are told one by one
RARE = 5  # rows below which a level is rare
EMPTY = 0.5  # share of missing cells that is told
MIXED = 0.2  # share of numbers among words, or of words among numbers, from which a category is told to be mixed
QUOTED = 3  # rows or levels named of a column


@dataclass(frozen=True)
class Look:
    """One column. missing: [N] where a cell says nothing. cells: of numbers and dates. levels: how often each value is
    there, the most frequent first, of all others."""

    name: str
    kind: Kind
    missing: NDArray[np.bool_]
    cells: Cells | None
    levels: Counter[str]

    @property
    def known(self) -> NDArray[np.float64]:
        assert self.cells is not None
        return self.cells.numbers[~np.isnan(self.cells.numbers)]


def look(series: pd.Series, typed: bool, kind: Kind | None) -> Look:
    """kind: as a person says; else it is found."""
    kind = kind or kind_of(series, typed)
    gone = is_missing(series, typed)
    name = str(series.name)
    if kind in ("number", "date"):
        return Look(name, kind, gone, (dates_of if kind == "date" else numbers_of)(series, typed), Counter())
    if kind == "category":
        counts = series[~gone].astype(str).value_counts()
        return Look(name, kind, gone, None, Counter(dict(zip(counts.index, counts.tolist(), strict=True))))
    return Look(name, kind, gone, None, Counter())


def looked(reading: Reading, kinds: Mapping[str, Kind]) -> tuple[list[Fact], list[Finding]]:
    """What there is to know of a table. kinds: of columns, where people said so."""
    looks = [look(reading.frame[c], reading.typed, kinds.get(str(c))) for c in reading.frame.columns]
    facts = [Fact("columns", dict(Counter(str(v.kind) for v in looks).most_common()))]
    facts += [Fact(v.name, _told(v)) for v in looks[:MOST_FACTS]]
    if len(looks) > MOST_FACTS:
        facts.append(Fact("and", f"{len(looks) - MOST_FACTS:,} more columns"))
    findings = [Finding("header", "warning", text, "look whether the first row holds names", 1)
                for text in reading.notices]  # fmt: skip
    for each in (_empty, _constant, _odd, _mixed, _formats, _spelt, _wide, _stand_ins):
        findings += each(looks, reading)
    for each in (_anew, _texts, _rare, _spikes, _gaps, _formulas):
        findings += each(looks, reading)
    return facts, findings


def _told(v: Look) -> str:
    """A column in a line."""
    parts: list[str] = [v.kind]
    if v.kind == "number" and len(v.known):
        decimals = v.cells.shape["decimals"] if v.cells else None
        parts[0] = "whole number" if decimals == 0 else "number"
        parts.append(f"{v.known.min():,.6g} to {v.known.max():,.6g}, median {np.median(v.known):,.6g}")
    elif v.kind == "date" and len(v.known):
        days = [str(np.datetime64(int(end), "s"))[:10] for end in (v.known.min(), v.known.max())]
        parts.append(f"{days[0]} to {days[1]}")
    elif v.kind == "category" and v.levels:
        first = [f"{name} {_share(n / len(v.missing))}" for name, n in v.levels.most_common(QUOTED)]
        parts.append(f"{count(len(v.levels), 'level')}: {', '.join(first)}" + (", ..." if len(v.levels) > 3 else ""))
    share = float(v.missing.mean()) if len(v.missing) else 0.0
    return " · ".join(parts) + (f" · {_share(share)} missing" if share else "")


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.2%}"


def _found(
    code: str, severity: str, what: Callable[[int], str], advice: str, quotes: list[str], total: int | None = None
) -> Iterator[Finding]:
    """One finding of as many columns as there are quotes."""
    if quotes:
        shown = tuple(quotes[:SHOWN])
        n = len(quotes) if total is None else total
        yield Finding(code, severity, what(len(quotes)), advice, n, tuple(() for _ in shown), shown)  # type: ignore[arg-type]


def _columns(n: int, one: str, more: str) -> str:
    return f"{count(n, 'column')} {one if n == 1 else more}"


# -- what to mend ------------------------------------------------------------------------------------------------------


def _empty(looks: list[Look], _: Reading) -> Iterator[Finding]:
    names = [v.name for v in looks if v.missing.all()]
    yield from _found(
        "missing-everywhere", "warning", lambda n: _columns(n, "is", "are") + " missing in every row",
        "leave them out, or look whether they were read as they should be; nothing is learnt of them", names,
    )  # fmt: skip


def _constant(looks: list[Look], _: Reading) -> Iterator[Finding]:
    quotes = []
    for v in looks:
        if v.levels and len(v.levels) == 1 and not v.missing.any():
            quotes.append(f"{v.name}: {next(iter(v.levels))[:40]!r} in every row")
        elif v.cells is not None and len(v.known) == len(v.missing) > 0 and v.known.min() == v.known.max():
            quotes.append(f"{v.name}: {v.known[0]:g} in every row")
    yield from _found(
        "constant", "note", lambda n: _columns(n, "has", "have") + " one value everywhere",
        "it is written as it is; nothing is learnt of it", quotes,
    )  # fmt: skip


def _odd(looks: list[Look], reading: Reading) -> Iterator[Finding]:
    """Words among numbers or dates."""
    quotes, total = [], 0
    for v in looks:
        if v.cells is None:
            continue
        odd = np.flatnonzero(np.isnan(v.cells.numbers) & ~v.missing)
        if len(odd):
            total += len(odd)
            rows = [f"{str(v.cells.texts[i])[:30]!r} in row {i + reading.first:,}" for i in odd[:QUOTED]]
            quotes.append(f"{v.name}, {v.kind}s with {count(len(odd), 'other cell')}: {listing(rows)}")
    yield from _found(
        "mixed-types", "warning",
        lambda n: f"{count(total, 'cell')} of {count(n, 'column')} {'is' if total == 1 else 'are'} not of its kind",
        "mend them, or say what the column is by --kinds; they are learnt as special values of it", quotes, total,
    )  # fmt: skip


def _mixed(looks: list[Look], reading: Reading) -> Iterator[Finding]:
    """Categories that are partly numbers, partly words."""
    import pandas as pd

    quotes = []
    for v in looks:
        if v.kind != "category" or len(v.levels) <= 10:
            continue
        levels = pd.Series(list(v.levels), dtype=object)
        numeric = pd.to_numeric(levels, errors="coerce").notna().to_numpy()
        if not MIXED <= numeric.mean() <= 1 - MIXED:
            continue
        written = reading.frame[v.name].astype(str)
        shown = [f"{e!r} in row {int((written == e).argmax()) + reading.first:,}"
                 for e in (levels[numeric].iloc[0], levels[~numeric].iloc[0])]  # fmt: skip
        quotes.append(f"{v.name}: {numeric.mean():.0%} of its {len(levels):,} values are numbers, as {listing(shown)}")
    yield from _found(
        "mixed-types", "warning", lambda n: _columns(n, "holds", "hold") + " numbers and words alike, learnt as levels",
        "if it is a number with words for what is unknown, say so by --kinds: it is learnt better so", quotes,
    )  # fmt: skip


def _formats(looks: list[Look], _: Reading) -> Iterator[Finding]:
    for v in looks:
        if v.kind == "date" and v.cells is not None:
            for text in v.cells.notices:
                advice = "look whether day and month are where they should be; --kinds category keeps them as they are"
                yield Finding("date-formats", "warning", text, advice, 1)


def _spelt(looks: list[Look], _: Reading) -> Iterator[Finding]:
    quotes = []
    for v in looks:
        same: dict[str, list[str]] = defaultdict(list)
        for level in v.levels:
            same["".join(level.casefold().split())].append(level)
        quotes += [f"{v.name}: {' / '.join(map(repr, g[:4]))}" for g in same.values() if len(g) > 1]
    yield from _found(
        "level-spelling", "warning", lambda n: f"{count(n, 'level')} may be written in several ways",
        "join them if they mean the same", quotes,
    )  # fmt: skip


def _wide(looks: list[Look], _: Reading) -> Iterator[Finding]:
    quotes = [
        f"{v.name}: {len(v.levels):,} levels in {n:,} rows" for v in looks
        if (n := int((~v.missing).sum())) >= 100 and len(v.levels) > n / 2
    ]  # fmt: skip
    yield from _found(
        "many-levels", "warning", lambda n: _columns(n, "has", "have") + " levels of which most are seen once or twice",
        "if its values mean nothing, say by --kinds that it is an identifier or text: it is not learnt then", quotes,
    )  # fmt: skip


def _stand_ins(looks: list[Look], _: Reading) -> Iterator[Finding]:
    """A value at the end of a column's range that comes often and lies as far from the rest as the rest reaches."""
    quotes = []
    for v in looks:
        if v.kind != "number":
            continue
        values, times = np.unique(v.known, return_counts=True)
        if len(values) < 20:
            continue
        for end, near, far in ((-1, -2, 0), (0, 1, -1)):
            if times[end] >= RARE and abs(values[end] - values[near]) > abs(values[near] - values[far]):
                low, high = sorted((values[near], values[far]))
                said = f"{v.name}: {values[end]:,.10g} in {count(int(times[end]), 'row')}"
                quotes.append(f"{said}, the others {low:,.10g} to {high:,.10g}")
    yield from _found(
        "stand-in", "warning", lambda n: _columns(n, "has", "have") + " a frequent value far from all others",
        "if it stands for what is unknown, leave these cells empty", quotes,
    )  # fmt: skip


# -- what to know ------------------------------------------------------------------------------------------------------


def _anew(looks: list[Look], _: Reading) -> Iterator[Finding]:
    names = [v.name for v in looks if v.kind == "identifier"]
    yield from _found(
        "identifiers", "note", lambda n: _columns(n, "is an identifier", "are identifiers"),
        "not learnt: new ones are made, written as these are; --kinds says otherwise", names,
    )  # fmt: skip


def _texts(looks: list[Look], _: Reading) -> Iterator[Finding]:
    names = [v.name for v in looks if v.kind == "text"]
    yield from _found(
        "free-text", "note", lambda n: _columns(n, "is free text", "are free text"),
        "not learnt: left empty; a model of text learns it, with --set data.column", names,
    )  # fmt: skip


def _rare(looks: list[Look], _: Reading) -> Iterator[Finding]:
    quotes, total = [], 0
    for v in looks:
        rare = [(name, n) for name, n in v.levels.items() if n < RARE]
        if rare and len(v.levels) > 2 and len(rare) < len(v.levels):
            total += len(rare)
            shown = [f"{name[:30]} {n}" for name, n in rare[::-1]]
            quotes.append(f"{v.name}, {len(rare):,} of {count(len(v.levels), 'level')}: {listing(shown, QUOTED)}")
    yield from _found(
        "rare-levels", "note", lambda n: f"{count(total, 'level')} of {count(n, 'column')} in fewer than {RARE} rows",
        "little is learnt of them, and they may point at persons: join rare ones where that matters", quotes, total,
    )  # fmt: skip


def _spikes(looks: list[Look], _: Reading) -> Iterator[Finding]:
    quotes = []
    for v in looks:
        if v.kind != "number":
            continue
        values, times = np.unique(v.known, return_counts=True)
        if len(values) <= 2 * MOST_SPIKES:
            continue
        often = np.flatnonzero(times >= SPIKE * len(v.known))
        if len(often):
            shown = [f"{values[i]:g} in {_share(times[i] / len(v.missing))} of the rows" for i in often]
            quotes.append(f"{v.name}: {listing(shown)}")
    yield from _found(
        "spikes", "note", lambda n: _columns(n, "has", "have") + " values that stand out",
        "they are learnt as levels of their own", quotes,
    )  # fmt: skip


def _gaps(looks: list[Look], _: Reading) -> Iterator[Finding]:
    shares = [(v.name, float(v.missing.mean()) if len(v.missing) else 0.0) for v in looks]
    quotes = [f"{name}: {_share(share)}" for name, share in shares if EMPTY <= share < 1]
    yield from _found(
        "gaps", "note", lambda n: _columns(n, "is", "are") + " missing in half of the rows or more",
        "samples miss it as often, and given the same; leave it out if it says nothing", quotes,
    )  # fmt: skip


def _formulas(looks: list[Look], reading: Reading) -> Iterator[Finding]:
    quotes = []
    for v in looks:
        series = reading.frame[v.name]
        if not is_text(series) or v.kind in ("number", "date"):
            continue
        rows = np.flatnonzero(series.str.match("=.", na=False).to_numpy(bool))
        if len(rows):
            quotes.append(f"{v.name}: {str(series.iloc[rows[0]])[:40]!r} in row {rows[0] + reading.first:,}")
    yield from _found(
        "formulas", "note", lambda n: _columns(n, "has", "have") + " cells that a spreadsheet would run",
        "they get an apostrophe in the CSV and Excel files that are written; modality.formulas=true leaves them",
        quotes,
    )  # fmt: skip
