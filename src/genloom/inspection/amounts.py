"""How much there is: unreadable files, too few examples, classes that are rare or written in several ways."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from genloom.core.finding import SHOWN, Finding
from genloom.inspection.survey import Survey

UNEVEN, FEW, ENOUGH = 10.0, 10, 100  # times, examples of a class, examples in all


def amounts(found: Survey) -> Iterator[Finding]:
    """Unreadable files, too little data, classes that are rare, alone or written in several ways."""
    if found.broken:
        reasons = Counter(b.reason for b in found.broken).most_common(3)
        said = "; ".join(f"{reason} ({n:,})" for reason, n in reasons)
        n = len(found.broken)
        yield Finding(
            "unreadable", "warning",
            f"{n:,} of {n + len(found.usable):,} cannot be read and {'is' if n == 1 else 'are'} left out: {said}",
            "mend or remove them; the list of all is in the output of --json", n,
            tuple(() for _ in found.broken[:SHOWN]), tuple(f"{b.origin}: {b.reason}" for b in found.broken[:SHOWN]),
        )  # fmt: skip
    n = len(found.usable)
    if 2 <= n < ENOUGH and not found.items.stream:
        yield Finding(
            "few", "warning", f"there are only {n} examples",
            "a generator trained on them will mostly repeat them; give hundreds, better thousands", n,
        )  # fmt: skip
    yield from _classes(found.classes())


def _classes(classes: Mapping[str, int]) -> Iterator[Finding]:
    if len(classes) < 2:
        return
    names, counts = list(classes), np.array(list(classes.values()))
    if counts[0] >= UNEVEN * counts[-1]:
        few = [f"{name} ({n:,})" for name, n in list(classes.items())[:-4:-1]]
        yield Finding(
            "imbalance", "warning",
            f"the classes are uneven: {names[0]} has {counts[0]:,} examples, {counts[0] / counts[-1]:,.0f} times as "
            f"many as {names[-1]} with {counts[-1]:,}",
            "collect more of the rare ones, join or remove them; a model draws the common ones better",
            int(counts[-1]), quotes=tuple(few), groups=tuple(() for _ in few),
        )  # fmt: skip
    rare = [(name, n) for name, n in classes.items() if n < FEW]
    if rare:
        yield Finding(
            "rare-classes", "warning",
            f"{'1 class has' if len(rare) == 1 else f'{len(rare):,} classes have'} fewer than {FEW} examples",
            "a model cannot learn much of them: collect more, join them with others or remove them", len(rare),
            tuple(() for _ in rare[-SHOWN:]), tuple(f"{name}: {n}" for name, n in rare[: -SHOWN - 1 : -1]),
        )  # fmt: skip
    written: dict[str, list[str]] = defaultdict(list)
    for name in names:
        written["".join(c for c in name.casefold() if c.isalnum())].append(name)
    several = [v for key, v in written.items() if len(v) > 1 and key]
    if several:
        yield Finding(
            "label-spelling", "warning",
            f"{len(several):,} label{'' if len(several) == 1 else 's'} may be written in several ways",
            "join them if they mean the same", len(several),
            tuple(() for _ in several[:SHOWN]), tuple(" / ".join(v) for v in several[:SHOWN]),
        )  # fmt: skip
