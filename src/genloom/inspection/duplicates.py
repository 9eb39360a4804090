"""What is there twice: duplicates, those with different labels, and those across a split that came with the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from genloom.core.finding import SHOWN, Finding, Ints
from genloom.inspection.survey import Survey


def twice(found: Survey) -> Iterator[Finding]:
    """Duplicates, those with different labels, and those across a split that came with the data."""
    exact, near = found.exact, found.near
    again = int((exact != np.arange(len(exact))).sum())
    alike = int((near != np.arange(len(near))).sum()) - again
    if again:
        yield Finding(
            "exact-duplicates", "note" if again < 0.01 * len(exact) else "warning",
            f"{_examples(again)} {'repeats' if again == 1 else 'repeat'} another one exactly",
            "keep one of each, unless it shall weigh more; training keeps equal ones on one side of its split",
            again, *_together(found, exact),
        )  # fmt: skip
    if alike:
        separate = near.copy()
        separate[exact != np.arange(len(exact))] = -1
        yield Finding(
            "near-duplicates", "note" if alike < 0.05 * len(near) else "warning",
            f"{_examples(alike)} {'is' if alike == 1 else 'are'} nearly like another one",
            "look at them; copies that were resized, saved again or slightly changed are better removed", alike,
            *_together(found, separate),
        )  # fmt: skip
    yield from _conflicts(found)
    yield from _leaks(found)


def _together(found: Survey, groups: Ints) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """The largest groups of more than one, and how many each has; -1 belongs to none."""
    names, counts = np.unique(groups[groups >= 0], return_counts=True)
    order = np.flatnonzero(counts > 1)
    order = order[np.argsort(-counts[order], kind="stable")][:SHOWN]
    members = [found.usable[np.flatnonzero(groups == names[k])[:4]] for k in order]
    return tuple(tuple(m.tolist()) for m in members), tuple(f"{counts[k]:,} together" for k in order)


def _conflicts(found: Survey) -> Iterator[Finding]:
    """Equal, or else nearly equal, examples that have different labels."""
    if found.items.labels is None:
        return
    told: set[int] = set()
    for code, groups, how in (
        ("conflicting-labels", found.exact, ""),
        ("conflicting-near-labels", found.near, ", nearly the same each time"),
    ):
        labels: dict[int, dict[str, int]] = defaultdict(dict)
        for k in np.flatnonzero(np.isin(groups, groups[groups != np.arange(len(groups))])).tolist():
            i = int(found.usable[k])
            labels[int(groups[k])].setdefault(str(found.items.label(i)), i)
        split = [g for name, g in labels.items() if len(g) > 1 and name not in told]
        told |= {int(found.near[name]) for name, g in labels.items() if len(g) > 1}
        if split:
            n = "1 example is" if len(split) == 1 else f"{len(split):,} examples are"
            yield Finding(
                code, "note" if how else "warning", f"{n} there under several labels{how}",
                "decide which label is right and remove the others", len(split),
                tuple(tuple(group.values())[:4] for group in split[:SHOWN]),
                tuple(" / ".join(group) for group in split[:SHOWN]),
            )  # fmt: skip


def _leaks(found: Survey) -> Iterator[Finding]:
    """Held-out examples like training ones: only a split that came with the data can have them."""
    if found.items.given is None or found.items.stream:
        return
    usable = found.usable
    train = np.fromiter((found.items.split(i) in (None, "train") for i in usable.tolist()), bool, len(usable))
    if train.all() or not train.any():
        return
    equal = ~train & np.isin(found.exact, found.exact[train])
    alike = ~train & np.isin(found.near, found.near[train]) & ~equal
    for code, where, groups, how in (
        ("leak", equal, found.exact, "also in the training part"),
        ("near-leak", alike, found.near, "nearly like one of the training part"),
    ):
        chosen = np.flatnonzero(where)
        if not len(chosen):
            continue
        share = len(chosen) / int((~train).sum())
        shown = [(k, np.flatnonzero((groups == groups[k]) & train)[0]) for k in chosen[:SHOWN]]
        yield Finding(
            code, "warning" if code == "leak" or share >= 0.01 else "note",
            f"{_examples(len(chosen), 'held-out ')} ({share:.1%} of them) {'is' if len(chosen) == 1 else 'are'} {how}",
            "remove them from one side, or the figures on held-out data will look better than they are; training "
            "leaves a split that came with the data as it is", len(chosen),
            tuple((int(usable[k]), int(usable[partner])) for k, partner in shown),
            tuple(f"{found.items.split(int(usable[k]))} / train" for k, _ in shown),
        )  # fmt: skip


def _examples(n: int, what: str = "") -> str:
    return f"1 {what}example" if n == 1 else f"{n:,} {what}examples"
