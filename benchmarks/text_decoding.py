"""How fast sequences are generated token by token, beside Hugging Face transformers on the same sizes in the same run.

    OMP_NUM_THREADS=1 python benchmarks/text_decoding.py

Both draw 256 tokens with a cache of keys and values from random weights on one core; ours as the family's defaults have
it (n-gram embeddings, forbidden tokens, log-probabilities), by the compiled step and by PyTorch's. They take turns, and
CPU seconds of the process are counted: the fastest of several runs of each, and the median over the turns of their
ratio, so that other load on the machine matters little. LSTM and GRU have nothing beside them. Needs transformers.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from records import keep, machine
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.families.autoregressive import Autoregressive
from genloom.nets.native import library

TOKENS, VOCAB = 256, 65
SIZES = ((4, 128, 4), (6, 384, 6))  # layers, width, heads
GOALS = {(128, 1): 4.0, (128, 32): 1.8, (384, 1): 1.3, (384, 32): 1.4}
AIMS = {(128, 1): 10.0, (128, 32): 3.0, (384, 1): 2.0, (384, 32): 2.5}
ROUNDS, SECONDS = 3, 20  # at least so many runs of each, and more while this time lasts


def ours(depth: int, width: int, heads: int, cell: str = "transformer") -> Autoregressive:
    """The family with every weight at random, those that begin at zero too."""
    torch.manual_seed(0)
    spec = Tokens(TOKENS + 1, VOCAB, 0, 3, 1, stream=True)
    config = Autoregressive.Config(cell=cell, depth=depth, width=width, heads=heads, context=TOKENS)
    family = Autoregressive(spec, config, ConditionSpec()).eval()
    for p in family.parameters():
        nn.init.normal_(p, std=0.05)
    return family


def draw(family: Autoregressive, rows: int, step: str) -> Callable[[], Any]:
    options = family.Options(max_tokens=TOKENS, temperature=0.8)

    def run() -> Any:
        with library.using(step):
            return family.sample(rows, Condition(), Rng(0), options)

    return run


def theirs(depth: int, width: int, heads: int, rows: int) -> Callable[[], Any]:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCAB, n_positions=TOKENS + 16, n_embd=width, n_layer=depth, n_head=heads)
    ).eval()
    begin = torch.zeros(rows, 1, dtype=torch.long)

    def run() -> Any:
        with torch.inference_mode():
            return model.generate(
                begin, attention_mask=torch.ones_like(begin), do_sample=True, temperature=0.8, top_k=0,
                min_new_tokens=TOKENS, max_new_tokens=TOKENS, pad_token_id=0, eos_token_id=None,
            )  # fmt: skip

    return run


def timed(runs: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """CPU seconds of each in every round, the runs taking turns."""
    out: dict[str, list[float]] = {name: [] for name in runs}
    rounds, until = 0, time.monotonic() + SECONDS
    while rounds < ROUNDS or time.monotonic() < until:
        rounds += 1
        for name, run in runs.items():
            begin = time.process_time()
            run()
            out[name].append(time.process_time() - begin)
    return out


def speeds() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for cell, depth, width, heads in [("transformer", *s) for s in SIZES] + [("lstm", 1, 128, 1), ("gru", 1, 128, 1)]:
        family = ours(depth, width, heads, cell)
        for rows in (1, 32):
            runs = {step: draw(family, rows, step) for step in ("compiled", "torch")}
            if cell == "transformer":
                runs["transformers"] = theirs(depth, width, heads, rows)
            seconds = timed(runs)
            entry: dict[str, Any] = {"cell": cell, "layers": depth, "width": width, "batch": rows}
            if cell == "transformer":
                entry["heads"] = heads
            entry |= {f"{name}_tokens_per_second": round(rows * TOKENS / min(s)) for name, s in seconds.items()}
            if cell == "transformer":
                entry |= {f"{step}_ratio": ratio(seconds, step) for step in ("compiled", "torch")}
                entry |= {"goal": GOALS[width, rows], "aim": AIMS[width, rows]}
            print(entry, flush=True)
            out.append(entry)
    return out


def ratio(seconds: dict[str, list[float]], step: str) -> float:
    return round(statistics.median(t / s for t, s in zip(seconds["transformers"], seconds[step], strict=True)), 2)


def latencies() -> dict[str, float]:
    """Milliseconds of wall clock: to the first token of a model in memory, its first ever and later ones; from closing
    the iterator until it has stopped; and one token of a batch of 32 for comparison."""
    family = ours(6, 384, 6)
    first: list[float] = []
    for _ in range(5):
        begin = time.perf_counter()
        steps = family.steps(1, Condition(), Rng(0), family.Options())
        next(steps)
        first.append(1000 * (time.perf_counter() - begin))
        steps.close()
    steps = family.steps(32, Condition(), Rng(0), family.Options())
    for _ in range(8):
        next(steps)
    begin = time.perf_counter()
    next(steps)
    token = 1000 * (time.perf_counter() - begin)
    begin = time.perf_counter()
    steps.close()
    closing = 1000 * (time.perf_counter() - begin)
    figures = {"first_token_ever": first[0], "first_token": min(first), "token_of_32": token, "cancel": closing}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    torch.set_num_threads(1)
    library.build()
    waits = latencies()  # first, so that the first token is the process's first
    document = {
        "speeds": speeds(),
        "milliseconds_6x384": waits,
        "command": "OMP_NUM_THREADS=1 python benchmarks/text_decoding.py",
        "clock": "CPU seconds of one thread; milliseconds are wall clock",
        "load_average": round(os.getloadavg()[0], 1),
        **machine("transformers"),
    }
    print(json.dumps(document, indent=2))
    print(keep("text_decoding", document))


if __name__ == "__main__":
    main()
