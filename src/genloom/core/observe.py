"""Those who watch a training: the history file, TensorBoard, a terminal panel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from genloom.core.modality import Shown


class Observer(Protocol):
    """Called by the loop from the training's own thread."""

    def started(self, info: dict[str, Any]) -> None:
        """info: name, model, data, parameters {player: n}, device, precision, steps or None, budget or None, step."""
        ...

    def step(self, record: dict[str, Any]) -> None:
        """One line of history.jsonl: step, fraction, seconds, rate {player}, losses {player}, logs,
        examples_per_second, data_wait."""
        ...

    def samples(self, step: int, shown: Shown, path: Path) -> None: ...

    def notice(self, text: str) -> None: ...

    def finished(self, summary: dict[str, Any]) -> None: ...


class History:
    """Appends each record to history.jsonl. A resumed run first drops what lies after its checkpoint."""

    def __init__(self, path: Path, after: int = 0) -> None:
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= after]
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (kept open for the whole training)
        self._file.writelines(line + "\n" for line in kept)

    def started(self, info: dict[str, Any]) -> None:
        self._file.flush()

    def step(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def samples(self, step: int, shown: Shown, path: Path) -> None: ...

    def notice(self, text: str) -> None: ...

    def finished(self, summary: dict[str, Any]) -> None:
        self._file.close()


def read_history(path: Path) -> list[dict[str, Any]]:
    """The records of a history.jsonl; lines cut by a crash are passed over, and a file that is not there has none."""
    try:
        records = [json.loads(line) for line in _lines(path)]
    except (OSError, UnicodeDecodeError):
        return []
    return [r for r in records if isinstance(r, dict) and isinstance(r.get("step"), int | float)]


def _lines(path: Path) -> list[str]:
    """Whole JSON lines; a line cut by a crash is dropped."""
    if not path.exists():
        return []
    out = []
    for line in path.read_text("utf-8").splitlines():
        try:
            json.loads(line)
        except ValueError:
            continue
        out.append(line)
    return out


class TensorBoard:
    """Scalars, sample grids and, at the end, hyper-parameters with the last losses."""

    def __init__(self, folder: Path, after: int, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=after + 1 if after else None)
        self._settings = settings
        self._last: dict[str, float] = {}

    def started(self, info: dict[str, Any]) -> None: ...

    def step(self, record: dict[str, Any]) -> None:
        groups = {"loss": record["losses"], "rate": record["rate"], "log": record["logs"]}
        for group, values in groups.items():
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, record["step"])
        self._writer.add_scalar("speed/examples_per_second", record["examples_per_second"], record["step"])
        self._last = {f"final/{n}": v for n, v in record["losses"].items()}

    def samples(self, step: int, shown: Shown, path: Path) -> None:
        import numpy as np

        if isinstance(shown, str):  # indented: TensorBoard reads Markdown
            self._writer.add_text("samples", "\n".join("    " + line for line in shown.splitlines()), step)
        else:
            self._writer.add_image("samples", np.asarray(shown.convert("RGB")), step, dataformats="HWC")

    def notice(self, text: str) -> None:
        self._writer.add_text("notices", text)

    def finished(self, summary: dict[str, Any]) -> None:
        simple = {k: v for k, v in self._settings.items() if isinstance(v, bool | int | float | str)}
        self._writer.add_hparams(simple, self._last, run_name="hparams")
        self._writer.close()
