"""The same file again, from the record beside it and the run that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genloom.core.config import validate
from genloom.core.device import device_of
from genloom.core.errors import GenloomError, InputError
from genloom.core.run import CONFIG, MANIFEST, WEIGHTS, RunFolder
from genloom.core.spec import Row, Spec
from genloom.nets.native.library import using
from genloom.provenance import Marker, load_identity
from genloom.provenance.record import Record, records_beside
from genloom.provenance.writing import software
from genloom.run.generate import chunks, save_shown
from genloom.run.latents import moved_of
from genloom.run.rows import put_rows, table_of, write_rows
from genloom.run.trained import Run


@dataclass(frozen=True)
class Reproduction:
    """same: the bytes made now equal those that were written, up to the signature in the file, which is never the same
    twice. intact: the file itself is still what was written. differences: versions and machine that are not those of
    then, as "torch 2.12 then, 2.13 now"."""

    file: Path
    same: bool
    intact: bool
    run: Path
    differences: tuple[str, ...]
    written: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reproduce(
    file: str | Path,
    run: str | Path | None = None,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    notify: Callable[[str], None] = lambda _: None,
) -> Reproduction:
    """Make `file` again and compare. run: where its run is now, looked for above the file and in ./runs if not given.
    out: a folder to write the file to, with a record of its own; nothing is written without.

    Raises InputError when the file has no record that holds, its run is not found or not the one that made it, or it
    was made from files that the record does not keep.
    """
    path = Path(file)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        digest = ""  # a lost file is made again too
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}") from None
    record = _record(path, digest, notify)
    entry = record.entry(path.name, digest) or {}
    facts, asked = _mapping(record, "run"), _mapping(record, "asked")
    trained = Run.open(_find(path, facts, run), device)
    then = _mapping(record, "software")
    try:
        with using(str(then.get("decoding", "torch"))):
            now = software(device_of(trained.family).type)
            made, name = _again(trained, record.document.get("task"), asked, entry, out)
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"the record {record.path} is damaged ({type(e).__name__}: {e}); restore it") from None
    return Reproduction(
        path,
        made == entry.get("unsigned", entry.get("sha256")),
        digest == entry.get("sha256"),
        trained.path,
        tuple(f"{k} {then[k]} then, {v} now" for k, v in now.items() if k in then and then[k] != v),
        None if out is None else Path(out) / name,
    )


def _record(path: Path, digest: str, notify: Callable[[str], None]) -> Record:
    records = records_beside(path, digest, load_identity(make=False))
    sound = [r for r in records if not r.problem]
    if not sound:
        why = f"the record beside it does not hold: {records[0].problem}" if records else "there is no record beside it"
        raise InputError(f"{path} cannot be made again: {why}")
    fits = [r for r in sound if digest and (r.entry(path.name, digest) or {}).get("sha256") == digest]
    record = max(fits or sound, key=lambda r: (r.own, r.signed, str(r.document.get("created"))))
    if not record.signed:
        notify(f"the record {record.path.name} has no signature: what it says may have been changed")
    return record


def _mapping(record: Record, name: str) -> Mapping[str, Any]:
    value = record.document.get(name)
    if not isinstance(value, dict):
        raise InputError(f"the record {record.path} is damaged: it has no {name!r}; restore it")
    return value


def _find(path: Path, facts: Mapping[str, Any], given: str | Path | None) -> Path:
    """The folder of the run with the recorded weights."""
    name, weights = str(facts.get("name", "")), facts.get("weights")
    if given is not None:
        if _weights(Path(given)) != weights:
            raise InputError(f"{given} is not the run that made {path.name}: its weights are not those of the record")
        return Path(given)
    for folder in (*path.resolve().parents, Path("runs") / Path(name).name):
        if (folder / CONFIG).is_file() and _weights(folder) == weights:
            return folder
    raise InputError(f"the run {name!r} that made {path.name} is not found; say where it is with --run RUN")


def _weights(folder: Path) -> str | None:
    if not (folder / MANIFEST).is_file():
        return None
    found: str | None = RunFolder(folder).manifest().get("files", {}).get(WEIGHTS)
    return found


def _again(
    run: Run, task: Any, asked: Mapping[str, Any], entry: Mapping[str, Any], out: str | Path | None
) -> tuple[str, str]:
    """sha256 of the file made again, before any signature, and its name."""
    run = run.writing(asked.get("files", {}))
    stem, marker = Path(str(entry["name"])).stem, Marker(run.batch(str(task), asked))
    place = {stem: (entry.get("index"), entry.get("label"))}
    write: Callable[[Path, Marker], Any]
    if task == "sample":
        grid = bool(asked["grid"])
        n = int(asked["n"]) if grid else _enough(run.family.spec, int(asked["n"]), int(entry["index"]))
        chosen: Sequence[str] | None = asked["label"]
        made = run.sample(
            n, label=chosen, seed=asked["seed"], options=asked["options"], prompt=asked["prompt"],
            suffix=asked["suffix"], stop=asked["stop"], properties=asked.get("properties"), source=asked.get("source"),
            only=asked.get("only"), repair=asked.get("repair", False),
        )  # fmt: skip
        if grid:
            write = lambda folder, m: save_shown(run.modality.show(made), folder / stem, m)  # noqa: E731
        else:
            write = lambda folder, m: run.modality.write([made[entry["index"]]], folder, [stem], m)  # noqa: E731
    elif task == "rows" and not asked.get("fill"):
        chosen_options = validate(run.family.Options, asked["options"], "options")
        write = lambda folder, m: write_rows(  # noqa: E731
            run, int(asked["n"]), folder / f"{stem}{asked['ending']}", m, where=asked["where"], seed=asked["seed"],
            options=chosen_options,
        )  # fmt: skip
    elif task == "interpolate" and not asked.get("between"):
        ways = run.interpolate(asked["n"], rows=asked["rows"], seed=asked["seed"], label=asked["label"])
        if isinstance(run.family.spec, Row):
            import pandas as pd

            rows, ending = pd.concat(ways, ignore_index=True), str(asked["ending"])
            write = lambda folder, m: put_rows(table_of(run), [rows], folder / f"{stem}{ending}", m)  # noqa: E731
        else:
            shown = run.modality.show([image for way in ways for image in way], asked["n"])
            write = lambda folder, m: save_shown(shown, folder / stem, m)  # noqa: E731
    elif task == "latents":
        moved = moved_of(run, asked["seed"], asked["label"], asked["moves"])
        write = lambda folder, m: run.modality.write([moved], folder, [stem], m)  # noqa: E731
    else:
        raise InputError(f"{entry['name']} was made from files of which the record keeps only the digests")
    marker.places = place
    with TemporaryDirectory(prefix="genloom-") as scratch:
        write(Path(scratch), marker)
    if out is not None:
        signed = Marker(run.batch(str(task), asked), load_identity())
        signed.places = place
        folder = Path(out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"{folder} cannot be made: {e.strerror or e}; choose another folder with -o") from None
        write(folder, signed)
        signed.record(folder)
    if not marker.entries:
        raise GenloomError(f"{entry['name']} could not be made again: nothing was written")
    again = next((e for e in marker.entries if e["name"] == entry["name"]), marker.entries[0])
    return str(again["sha256"]), str(again["name"])


def _enough(spec: Spec, n: int, index: int) -> int:
    """How many samples to draw for the one at `index`: to the end of its piece of the batch, so that the arithmetic is
    that of then."""
    if not 0 <= index < n:
        raise ValueError(f"index {index} of {n}")
    return next(offset + count for offset, count in chunks(spec, n) if index < offset + count)
