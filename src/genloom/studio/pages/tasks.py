"""What a job's process does besides `genloom train` and `evaluate`: a look at data, and the plan of a training.

`python -m genloom.studio.pages.tasks inspect|plan FOLDER` reads what is asked from FOLDER/job.json and writes
FOLDER/result.json, with "error" in it where the data or the settings are no good. Data of strangers is read here, so
that what harms this process does not harm the server.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloom.core.errors import GenloomError
from genloom.core.files import write_atomic
from genloom.studio.pages.jobs import Job

if TYPE_CHECKING:
    from genloom.core.modality import Modality
    from genloom.inspection import Inspection

RESULT = "result.json"
EXAMPLES = 24  # shown of the data
FINDINGS, GROUPS = 12, 6  # with pictures, and pictures of each
EXCERPT = 600  # characters of a text


def _notify(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def inspect(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `genloom inspect --json` says, with "examples" and of every finding "shown": pictures written beside it
    (names) and texts."""
    from genloom import api

    found = api.inspect(asked["data"], notify=_notify)
    result = found.to_json()
    modality = found.modality
    for i, (finding, told) in enumerate(zip(found.findings[:FINDINGS], result["findings"], strict=False)):
        shown = [_shown(modality, g.examples, folder / f"finding-{i}-{k}") for k, g in enumerate(finding.groups)][
            :GROUPS
        ]
        told["shown"] = [s for s in shown if s]
    result["examples"] = _examples(found, folder)
    return result


def _examples(found: Inspection, folder: Path) -> dict[str, Any] | None:
    """Some of the training examples as a model sees them."""
    import numpy as np

    if found.prepared is None or not len(found.prepared.train):
        return None
    train = found.prepared.train
    rows = np.unique(np.linspace(0, len(train) - 1, EXAMPLES).round().astype(np.int64))
    examples = found.prepared.modality.decode_all(train.batch(rows).x)
    if _texts(examples):
        examples = examples[:8]
    return _shown(found.prepared.modality, examples, folder / "examples")


def _texts(examples: Any) -> bool:
    return isinstance(examples, list | tuple) and all(isinstance(e, str) for e in examples)


def _shown(modality: Modality[Any] | None, examples: Any, path: Path) -> dict[str, Any] | None:
    """{"picture": name}, {"texts": [...]} or {"lines": text}; None where there is nothing to show."""
    if not len(examples):
        return None
    if modality is None or (modality.shows_text and _texts(examples)):
        texts = [e[:EXCERPT] for e in examples if isinstance(e, str)]
        return {"texts": texts} if texts else None
    picture = modality.show(examples, columns=len(examples) if len(examples) < 6 else None)
    if isinstance(picture, str):
        return {"lines": picture[: 8 * EXCERPT]}
    data = io.BytesIO()
    picture.convert("RGB").save(data, "PNG")
    write_atomic(path.with_suffix(".png"), data.getvalue())
    return {"picture": f"{path.name}.png", "width": picture.width, "height": picture.height}


def plan(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `genloom train --dry-run --json` says, with "memory": bytes that this process has held at most."""
    import torch

    from genloom import api
    from genloom.core.device import peak_memory

    notices: list[str] = []
    found = api.plan(
        asked["data"], model=asked["model"], recipe=asked["recipe"], budget=asked["budget"], steps=asked["steps"],
        settings=asked["settings"], seed=asked["seed"], start=asked["start"],
        lora=asked["lora"], notify=notices.append,
    )  # fmt: skip
    memory = peak_memory(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return {**found.to_json(), "notices": list(dict.fromkeys([*notices, *found.notices])), "memory": memory}


TASKS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {"inspect": inspect, "plan": plan}


def main(name: str, folder: Path) -> None:
    (folder / RESULT).unlink(missing_ok=True)
    try:
        result = TASKS[name](Job(folder).asked, folder)
    except GenloomError as e:
        result = {"error": str(e)}
    except MemoryError:
        result = {"error": "there is not enough memory for this data; try a part of it"}
    except Exception as e:
        traceback.print_exc()  # into the job's log
        result = {"error": f"an error in genloom itself ({type(e).__name__}: {e}); its details are in the log"}
    write_atomic(folder / RESULT, json.dumps(result, ensure_ascii=False, default=_plain).encode())


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
