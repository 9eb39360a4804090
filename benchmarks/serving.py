"""How `genloom serve` bears many clients: throughput beside one client at a time, errors, memory, first tokens.

    python benchmarks/serving.py [--seconds 60] [--clients 64] [--text RUN] [--flow RUN]

The server is a process of its own; the clients are one process more on the same cores, which counts against the server.
Runs that are not given are trained for a few steps first: what a text file gets by default (an LSTM), and a flow on
digits. Goals: no status but 200, 429 and 503; text at least 4 times as fast as with one client; memory that
grows by less than 5% after the first fifth of the time; half of the first tokens within 150 ms of an idle server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records import command, keep, machine

import genloom

TOKENS = 100  # of a completion
IDLE = 30  # streams for the first token
PROMPT = "the "


@dataclass
class Tally:
    """What clients have seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    units: int = 0  # tokens or pictures
    latencies: list[float] = field(default_factory=list)  # seconds of good answers

    def to_json(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "statuses": {str(k): v for k, v in sorted(self.statuses.items())},
            "per_second": round(self.units / seconds, 1),
            "median_seconds": round(statistics.median(ordered), 3) if ordered else None,
            "p99_seconds": round(ordered[int(0.99 * (len(ordered) - 1))], 3) if ordered else None,
        }


class Client:
    """One connection, kept open, of HTTP/1.1: as little work as can be, since it shares the server's cores."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], asyncio.StreamReader]:
        """Status and headers; the body is still to be read."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), headers, reader

    async def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, headers, reader = await self.send(path, body)
        return status, json.loads(await reader.readexactly(int(headers["content-length"])))

    async def pieces(self, path: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """The chunks of a stream."""
        _, _, reader = await self.send(path, body)
        while size := int(await reader.readline(), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()


async def load(port: int, path: str, body: dict[str, Any], clients: int, seconds: float) -> Tally:
    """So many clients, each of which asks again as soon as it has an answer."""
    tally, end = Tally(), time.perf_counter() + seconds

    async def one(number: int) -> None:
        client, k = Client(port), 0
        while time.perf_counter() < end:
            begin = time.perf_counter()
            status, answer = await client.ask(path, {**body, "seed": 100_000 * number + k})
            tally.statuses[status] += 1
            k += 1
            if status == 200:
                tally.latencies.append(time.perf_counter() - begin)
                tally.units += answer["usage"]["completion_tokens"] if "usage" in answer else len(answer["data"])
            elif status in (429, 503):
                await asyncio.sleep(0.5)
        client.close()

    await asyncio.gather(*(one(i) for i in range(clients)))
    return tally


async def first_tokens(port: int, body: dict[str, Any]) -> list[float]:
    """Milliseconds to the first piece of text, one stream at a time."""
    client, out = Client(port), []
    for seed in range(IDLE):
        begin, waited = time.perf_counter(), None
        async for piece in client.pieces("/v1/completions", {**body, "stream": True, "max_tokens": 8, "seed": seed}):
            if waited is None and b'"text": "' in piece:
                waited = 1000 * (time.perf_counter() - begin)
        assert waited is not None
        out.append(waited)
    client.close()
    return out


async def watch(pid: int, every: float, readings: list[tuple[float, int]]) -> None:
    """Resident bytes of a process, as time goes by."""
    begin = time.perf_counter()
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        readings.append((time.perf_counter() - begin, pages * page))
        await asyncio.sleep(every)


def cpu(pid: int) -> float:
    """CPU seconds of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measured(
    port: int, pid: int, path: str, body: dict[str, Any], clients: int, seconds: float
) -> dict[str, Any]:
    """One client, then many, and the server's CPU time for each token or picture and its memory meanwhile."""
    await load(port, path, body, 1, 1.0)  # loads the model
    alone_for = max(3.0, seconds / 6)
    spent = [cpu(pid)]
    alone = await load(port, path, body, 1, alone_for)
    spent.append(cpu(pid))
    readings: list[tuple[float, int]] = []
    watching = asyncio.create_task(watch(pid, 0.25, readings))
    begin = time.perf_counter()
    many = await load(port, path, body, clients, seconds)
    took = time.perf_counter() - begin
    watching.cancel()
    spent.append(cpu(pid))
    early = max(b for t, b in readings if t <= max(1.0, 0.2 * took))
    late = max(b for t, b in readings if t > 0.8 * took)
    one, all_ = alone.to_json(alone_for), many.to_json(took)
    return {
        "one_client": one,
        "clients": all_,
        "times_as_fast": round(all_["per_second"] / one["per_second"], 2),
        "server_cpu_milliseconds": [
            round(1000 * (spent[1] - spent[0]) / alone.units, 3),
            round(1000 * (spent[2] - spent[1]) / many.units, 3),
        ],
        "megabytes": [round(early / 2**20), round(late / 2**20)],
        "growth": round(late / early - 1, 4),
        "other_statuses": sum(n for s, n in many.statuses.items() if s not in (200, 429, 503)),
    }


@contextlib.contextmanager
def server(runs: list[Path]) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server of these runs."""
    arguments = [sys.executable, "-m", "genloom", "serve", *map(str, runs), "--port", "0", "--json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            yield int(address.rsplit(":", 1)[1]), process.pid
        finally:
            process.terminate()


def trained(folder: Path, text: str | None, flow: str | None) -> list[Path]:
    """The runs: those given, others trained for a few steps. What they cost does not depend on how good they are."""
    prose = folder / "prose.txt"
    prose.write_text("".join(f"It was the {i}th day, and the rain had not stopped.\n" for i in range(2000)), "utf-8")
    runs = [Path(text) if text else folder / "text", Path(flow) if flow else folder / "flow"]
    if not text:
        genloom.train(prose, model="autoregressive", steps=3, out=runs[0])
    if not flow:
        genloom.train("digits", model="flow", steps=3, out=runs[1])
    return runs


async def run(port: int, pid: int, names: list[str], clients: int, seconds: float) -> dict[str, Any]:
    text = {"model": names[0], "prompt": PROMPT, "max_tokens": TOKENS}
    await load(port, "/v1/completions", text, 1, 1.0)
    waits = await first_tokens(port, text)
    return {
        "first_token_milliseconds": {"median": round(statistics.median(waits), 1), "most": round(max(waits), 1)},
        "text": await measured(port, pid, "/v1/completions", text, clients, seconds),
        "flow": await measured(port, pid, "/v1/images/generations", {"model": names[1]}, clients, seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--text", help="a run of text")
    parser.add_argument("--flow", help="a run of a flow of images")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = trained(Path(folder), given.text, given.flow)
        with server(runs) as (port, pid):
            names = [r.resolve().name for r in runs]
            figures = asyncio.run(run(port, pid, names, given.clients, given.seconds))
    record = {
        **figures,
        "command": command("serving.py", sys.argv[1:]),
        "load_average": round(os.getloadavg()[0], 1),
        **machine("fastapi", "uvicorn"),
    }
    print(json.dumps(record, indent=2))
    print(keep("serving", record))


if __name__ == "__main__":
    main()
