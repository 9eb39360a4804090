"""What texts of a set are like as a whole, and which of them look wrong: garbled, repeated, of another script, with
personal data. Memory does not grow with the text: about 8 bytes an example, and bounded tables."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from genloom.core.finding import SHOWN, Fact, Finding, Ints, spread
from genloom.metrics import personal
from genloom.metrics.scripts import CONTROLS, NAMES, REPLACED, garbled, language, scripts
from genloom.metrics.shingles import Sketches

VOCABULARY = 5_000_000  # characters in which words are counted
GUESSED, ENOUGH = 300, 1000  # parts of the text whose language is guessed, and characters of one
UNSURE = 0.05  # share of the guesses below which a language is not named
TABLE = 100_000  # repeated lines kept count of
LINE, DENSE_LINE = 30, 12  # characters of a line from which saying it again is no accident; in Chinese or Japanese
REPEATED = 5  # times a line must be there
BOILERPLATE = 0.05  # share of the text in repeated lines that is a warning
LONG, LONG_AS = 10_000, 20  # characters and times the median from which a document is very long
ENOUGH_TEXTS = 20  # below which one text in another script is no stray
FOREIGN = 0.02  # share of examples up to which those in another script are likely strays


class TextInspector:
    """Looks at texts.

    units: a text's words and signs. encoding: that of a file's bytes. stream: examples are pieces of one text, so that
    their lengths and likeness say nothing. lines: every line is an example, so that equal lines are equal examples.
    """

    def __init__(
        self, units: Callable[[str], Iterable[str]], encoding: Callable[[bytes], str], *, stream: bool, lines: bool
    ) -> None:
        self._units, self._encoding, self._stream, self._lines = units, encoding, stream, lines
        self._encodings: Counter[str] = Counter()
        self._lengths, self._index = array("I"), array("q")
        self._scripts = np.zeros(len(NAMES), np.int64)
        self._main = array("b")  # script of each example
        self._words: Counter[str] = Counter()
        self._counted = self._characters = self._windows = self._newlines = 0
        self._languages: Counter[str] = Counter()
        self._every, self._blocks, self._waiting = 1, 0, ""
        self._again = Repeats()
        self._sketches = Sketches()
        self._signs: dict[str, Signs] = {}

    def add(self, i: int, raw: Any, example: str) -> None:
        if isinstance(raw, bytes):
            self._encodings[self._encoding(raw)] += 1
        self._index.append(i)
        self._lengths.append(len(example))
        self._characters += len(example)
        found = scripts(example)
        self._scripts += found
        found[_NONE] = 0
        self._main.append(int(found.argmax()) if found.any() else -1)
        self._newlines += example.count("\n")
        self._windows += example.count("\r\n")
        if self._counted < VOCABULARY:
            self._counted += len(example)
            self._words.update(self._units(example))
        self._guess(example)
        if not self._lines:
            self._again.add(example)
        if not self._stream:
            self._sketches.add(i, example)
        self._look(i, example)

    def _guess(self, text: str) -> None:
        """Guess the language of enough text: of one example, or of several short ones."""
        self._waiting = f"{self._waiting}\n{text[:ENOUGH]}"
        if len(self._waiting) < ENOUGH:
            return
        if self._blocks % self._every == 0:
            self._languages[language(self._waiting)] += 1
            if self._languages.total() >= GUESSED * (1 + self._every):
                self._every *= 2
        self._blocks, self._waiting = self._blocks + 1, ""

    def _guesses(self) -> dict[str, int]:
        """Guesses by number; the few of languages with hardly any, which are mostly wrong, together."""
        total = self._languages.total()
        sure = {name: n for name, n in self._languages.most_common() if n >= UNSURE * total}
        rest = total - sum(sure.values())
        return {**sure, "unsure": rest} if rest else sure

    def _look(self, i: int, text: str) -> None:
        for kind in personal.find(text):
            self._sign(kind.kind, i, personal.masked(kind, text))
        if REPLACED in text:
            self._sign("replaced", i, around(text, text.index(REPLACED)))
        control = CONTROLS.search(text)
        if control is not None:
            self._sign("control", i, f"U+{ord(control[0]):04X} in {around(text, control.start())}")
        wrong = garbled(text)
        if wrong is not None:
            self._sign("garbled", i, around(text, text.index(wrong)))

    def _sign(self, kind: str, i: int, quote: str) -> None:
        self._signs.setdefault(kind, Signs()).add(i, quote)

    def alike(self) -> Ints:
        return self._sketches.pairs()[0]

    def facts(self) -> list[Fact]:
        if not self._languages and self._waiting.strip():
            self._languages[language(self._waiting)] += 1
        out = [Fact("encodings", dict(self._encodings.most_common()))] if self._encodings else []
        out.append(Fact("characters", self._characters))
        if self._lengths and not self._stream:
            out.append(Fact("length", spread(np.frombuffer(self._lengths, np.uint32)), "characters"))
        letters = {name: int(n) for name, n in zip(NAMES, self._scripts, strict=True) if n and name}
        out.append(Fact("scripts", dict(sorted(letters.items(), key=lambda e: -e[1])), "characters"))
        if self._languages:
            out.append(Fact("languages (guessed)", self._guesses(), "parts of the text"))
        if self._words:
            once = sum(n == 1 for n in self._words.values()) / len(self._words)
            part = f" of the first {self._counted:,} characters" if self._counted < self._characters else ""
            out.append(Fact("different words and signs", len(self._words), f"{once:.0%} of them once{part}"))
        if self._newlines:
            kinds = {"LF": self._newlines - self._windows, "CRLF": self._windows}
            out.append(Fact("line ends", {k: n for k, n in kinds.items() if n}))
        return out

    def findings(self) -> list[Finding]:
        out = [self._personal(kind) for kind in personal.KINDS if kind in self._signs]
        for kind, what, advice in _ACCIDENTS:
            if kind in self._signs:
                found = self._signs[kind]
                out.append(
                    Finding(
                        kind,
                        "warning",
                        what.format(n=self._holding(found.examples)),
                        advice,
                        found.examples,
                        *found.shown(),
                    )
                )
        out += [f for f in (self._long(), self._foreign(), self._boilerplate(), self._ends()) if f is not None]
        if self._sketches.full:
            out.append(
                Finding(
                    "compared-in-part", "note",
                    f"only the first {self._sketches.texts:,} texts were compared for near duplicates",
                    "a smaller part of the data can be inspected on its own", 0,
                )
            )  # fmt: skip
        return out

    def _personal(self, kind: str) -> Finding:
        found = self._signs[kind]
        said = f"{self._holding(found.examples)} {personal.KINDS[kind]} ({found.total:,} in all)"
        return Finding(
            f"personal-{kind}", "warning", said,
            "remove or replace them: a model can repeat what it was trained on word for word", found.examples,
            *found.shown(),
        )  # fmt: skip

    def _holding(self, n: int) -> str:
        one, many = ("piece of the text", "pieces of the text") if self._stream else ("text", "texts")
        return f"1 {one} holds" if n == 1 else f"{n:,} {many} hold"

    def _long(self) -> Finding | None:
        lengths = np.frombuffer(self._lengths, np.uint32)
        if self._stream or not len(lengths):
            return None
        most = max(LONG, LONG_AS * float(np.median(lengths)))
        where = np.flatnonzero(lengths > most)
        if not len(where):
            return None
        order = where[np.argsort(-lengths[where].astype(np.int64), kind="stable")][:SHOWN]
        return Finding(
            "long", "note", f"{_texts(len(where))} longer than {most:,.0f} characters, far longer than the others",
            "divide them, or train with modality.unit=stream if the data is one text", len(where),
            tuple((self._index[k],) for k in order), tuple(f"{lengths[k]:,} characters" for k in order),
        )  # fmt: skip

    def _foreign(self) -> Finding | None:
        """Examples in a script that few others are in."""
        main = np.frombuffer(self._main, np.int8)
        counts = np.bincount(main[main >= 0], minlength=len(NAMES))
        most = max(1.0, FOREIGN * len(main)) if len(main) >= ENOUGH_TEXTS else 0.0
        rare = [k for k in np.flatnonzero(counts) if counts[k] <= most]
        where = np.flatnonzero(np.isin(main, rare))
        if self._stream or not len(where):
            return None
        usual = " and ".join(NAMES[k] for k in np.flatnonzero(counts) if k not in rare) or "several"
        return Finding(
            "other-script", "note", f"{_texts(len(where))} mainly in another script than the others ({usual})",
            "look at them; remove those that do not belong here", len(where),
            tuple((self._index[k],) for k in where[:SHOWN]), tuple(NAMES[main[k]] for k in where[:SHOWN]),
        )  # fmt: skip

    def _boilerplate(self) -> Finding | None:
        again = [(line, n) for line, n in self._again.most() if n >= REPEATED]
        held = sum(len(line) * (n - 1) for line, n in again)
        if not again:
            return None
        share = held / max(1, self._characters)
        shown = again[:SHOWN]
        return Finding(
            "repeated-lines", "warning" if share >= BOILERPLATE else "note",
            f"{len(again):,} long lines are there at least {REPEATED} times; saying them again is "
            f"{'less than 0.1%' if share < 0.001 else format(share, '.1%')} of the text",
            "remove headers, footers, licences and menus, which the model would learn first", len(again),
            tuple(() for _ in shown), tuple(f"{n:,} times: {line[:120]}" for line, n in shown),
        )  # fmt: skip

    def _ends(self) -> Finding | None:
        mixed = min(self._windows, self._newlines - self._windows)
        if not mixed:
            return None
        return Finding(
            "line-ends", "note", f"lines end in two ways: {self._newlines - self._windows:,} in LF and "
            f"{self._windows:,} in CRLF", "write all of them in one way: a model learns both", mixed,
        )  # fmt: skip


_NONE = NAMES.index("")
_ACCIDENTS = (
    (
        "replaced", "{n} U+FFFD, which stands where a character was lost",
        "read the original again in its right encoding",
    ),
    ("garbled", "{n} signs that come from a wrong encoding, as in “Ã©” for “é”", "convert the original to UTF-8"),
    ("control", "{n} control or invisible characters", "remove them: each is a token of its own"),
)  # fmt: skip


class Signs:
    """Something that some examples hold: how many do, how often, and the first few."""

    def __init__(self) -> None:
        self.total = self.examples = 0
        self._last = -1
        self._first: list[tuple[int, str]] = []

    def add(self, i: int, quote: str) -> None:
        self.total += 1
        if i != self._last:
            self.examples, self._last = self.examples + 1, i
        if len(self._first) < SHOWN:
            self._first.append((i, quote))

    def shown(self) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
        return tuple((i,) for i, _ in self._first), tuple(quote for _, quote in self._first)


class Repeats:
    """How often long lines come again, in a table of limited size.

    Misra and Gries 1982, "Finding repeated elements": what does not fit takes one off every count, so a count is too
    low by at most the number of lines / TABLE.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, text: str) -> None:
        for line in text.split("\n"):
            line = line.strip()
            if len(line) >= LINE or (len(line) >= DENSE_LINE and not line.isascii() and _dense(line)):
                if 2 * sum(map(str.isalpha, line)) < len(line):  # a rule, a row of numbers
                    continue
                self._counts[line[:200]] += 1
        if len(self._counts) > TABLE:
            least = sorted(self._counts.values(), reverse=True)[TABLE // 2]
            self._counts = Counter({line: n - least for line, n in self._counts.items() if n > least})

    def most(self) -> list[tuple[str, int]]:
        return self._counts.most_common()


def _dense(text: str) -> bool:
    return any("\u3040" <= c <= "\u9fff" for c in text)


def _texts(n: int) -> str:
    return "1 text is" if n == 1 else f"{n:,} texts are"


def around(text: str, place: int) -> str:
    """A few characters on both sides of a place, on one line."""
    return " ".join(text[max(0, place - 20) : place + 20].split())
