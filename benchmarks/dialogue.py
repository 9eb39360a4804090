"""Replies in conversations: held-out nats, how varied replies are, and ten transcripts to read.

    python benchmarks/dialogue.py chatterbot-corpus-en-zh.zip --language english --transcripts docs/dialogues.md
    python benchmarks/dialogue.py synthetic-persona-chat --budget 30m

A zip of the ChatterBot corpus is read as YAML (one of its languages); a folder or file is taken as
`genloom train --task chat` takes it. In the transcripts the person says what people said in held-out conversations; the
model sees its own replies.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import torch
from records import command, machine

import genloom
from genloom.core.config import parse_sets
from genloom.core.rng import Rng
from genloom.data.wording import words
from genloom.metrics.ngrams import distinct, numbered
from genloom.run import Run

SAID, TURNS = 10, 3


def conversations(path: Path, language: str) -> list[dict[str, Any]]:
    """Those of the ChatterBot corpus with an even number of turns: question, answer, ..."""
    import yaml

    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if f"/{language}/" in n and n.endswith(".yml")):
            for turns in yaml.safe_load(archive.read(name))["conversations"]:
                texts = [str(t) for t in turns if t is not None and str(t).strip()]
                if len(texts) >= 2:
                    found.append({"turns": texts[: len(texts) // 2 * 2]})
    return found


def measured(run: Run, prepared: Any) -> tuple[dict[str, Any], list[str]]:
    """Figures on the held-out replies, and the histories of some."""
    total, count, histories, references = 0.0, 0, list[str](), list[str]()
    with torch.no_grad():
        for batch in prepared.validation.batches(64, 512):
            total += float(run.family.nll(batch, Rng(0)).sum())
            count += int((batch.x[:, 1:] != prepared.modality.spec.pad).sum())
            histories += [prepared.source.decode(s) for s in batch.condition.source]
            references += [prepared.modality.decode(x) for x in batch.x]
    replies = run.sample(len(histories), source=histories, options={"temperature": 0.7, "top_p": 0.9})
    likeliest = run.sample(len(histories), source=histories, options={"temperature": 0.0})
    sides = {"people": references, "drawn": replies, "most probable": likeliest}
    units = numbered(*([words(t) for t in texts] for texts in sides.values()))
    varied = {
        name: {f"distinct_{k}": round(share.value, 4) for k, share in enumerate(distinct(u)[:2], 1)}
        for name, u in zip(sides, units, strict=True)
    }
    return {"held_out_replies": len(histories), "nats_per_token": round(total / count, 4), "replies": varied}, histories


def transcripts(run: Run, histories: list[str]) -> list[list[tuple[str, str]]]:
    """Ten conversations in which the person says what people said in held-out ones."""
    asked = [[line[2:] for line in h.split("\n") if line.startswith("> ")] for h in histories]
    asked = sorted((a for a in asked if a), key=lambda a: -min(len(a), TURNS))
    step = max(1, len([a for a in asked if len(a) >= min(TURNS, len(asked[0]))]) // SAID)
    out = []
    for i, said in enumerate(asked[::step][:SAID]):
        talk = run.chat(seed=i)
        for text in said[:TURNS]:
            talk.reply(text)
        out.append([(t.role, t.text) for t in talk.turns])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--language", default="english")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="wall", help="cpu: CPU time of the process")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--transcripts", type=Path, help="Markdown file to write them to")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.clock == "cpu":
        time.perf_counter = time.process_time
    data: Any = conversations(given.data, given.language) if given.data.suffix == ".zip" else given.data
    out = given.run or Path(tempfile.mkdtemp()) / "run"
    run = genloom.train(data, task="chat", budget=given.budget, settings=parse_sets(given.set), out=out)
    figures, histories = measured(run, run.data(data))
    said = transcripts(run, histories)
    record = {
        "command": command("dialogue.py", sys.argv[1:]), **machine(), "steps": run.manifest["steps"],
        "seconds": run.manifest["seconds"], "train": run.manifest["data"]["train"],
        "parameters": run.manifest["parameters"], **figures,
    }  # fmt: skip
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if given.out:
        given.out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    if given.transcripts:
        lines = [
            "# Ten conversations with a small model",
            "",
            f"`{record['command']}`: {record['train']:,} replies, ",
            f"{record['seconds']:.0f} s, {figures['nats_per_token']} nats per held-out token. None is chosen.",
        ]
        for k, talk in enumerate(said, 1):
            lines += ["", f"**{k}**", ""]
            lines += [f"{'person' if role == 'user' else 'model'}: {text}  " for role, text in talk]
        given.transcripts.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
