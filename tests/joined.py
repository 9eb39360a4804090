"""Sequences that are decoded together, against the same ones decoded alone; for tests of both kinds of step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genloom.nets.decoding import Decoding, advance, generate


class NoRepeats:
    """A grammar: nothing twice in a row, and the end after a 9."""

    def allowed(self, tokens: Tensor) -> Tensor:
        return torch.ones(len(tokens), 11, dtype=torch.bool).scatter_(1, tokens[:, -1:], False)

    def finished(self, tokens: Tensor) -> Tensor:
        return tokens[:, -1] == 9


def favourite(logp: Tensor, past: Tensor) -> Tensor:
    """A mix that looks at two tokens of the past."""
    last = torch.nn.functional.one_hot((past[:, -2:].sum(1) * 3) % 11, 11)
    return torch.log(0.5 * logp.exp() + 0.5 * last)


def check(make: Callable[..., Decoding], filters: Callable[..., Any]) -> None:
    """make(rows, most, seed, filters, **more) -> a decoding. They join at different times, with different options, and
    one goes away; each must have the tokens and probabilities that it has alone, to the last bit."""
    wanted: list[dict[str, Any]] = [
        {"rows": 1, "most": 30, "seed": 1},
        {"rows": 2, "most": 25, "seed": 2},
        {"rows": 1, "most": 9, "seed": 3, "filters": filters(temperature=0.7, top_k=4)},
        {"rows": 3, "most": 12, "seed": 4, "filters": filters(repetition=1.5, top_p=0.9)},
        {"rows": 1, "most": 20, "seed": 5, "filters": filters(repetition=1.5, top_p=0.9)},
        {"rows": 2, "most": 15, "seed": 6, "guide": NoRepeats()},
        {"rows": 1, "most": 15, "seed": 7, "mix": favourite, "reach": 2},
        {"rows": 1, "most": 22, "seed": 8, "mix": favourite, "reach": 2, "filters": filters(temperature=0.0)},
    ]
    with torch.no_grad():
        alone = [list(generate(make(**w)))[len(make(**w).sofar[0]) - 1 :] for w in wanted]
        joined: list[tuple[int, Decoding, list[Any]]] = []
        done: dict[int, list[Any]] = {}
        for turn in range(200):
            if turn % 3 == 0 and turn // 3 < len(wanted):
                joined.append((turn // 3, make(**wanted[turn // 3]), []))
            if turn == 8:
                joined = [j for j in joined if j[0] != 1]  # its client has gone
            for (_, _, steps), step in zip(joined, advance([d for _, d, _ in joined]), strict=True):
                steps.append(step)
            done |= {k: steps for k, d, steps in joined if d.over}
            joined = [j for j in joined if not j[1].over]
            if not joined and turn // 3 >= len(wanted):
                break
    assert sorted(done) == [0, 2, 3, 4, 5, 6, 7]
    for k, steps in done.items():
        assert len(steps) == len(alone[k])
        for a, b in zip(steps, alone[k], strict=True):
            assert torch.equal(a.tokens, b.tokens) and torch.equal(a.logp, b.logp), k
