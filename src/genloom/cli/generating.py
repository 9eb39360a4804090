"""`genloom sample`, `evaluate`, `reconstruct` and `interpolate`: what a finished run can do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.options import Json, Label, Out, RunArgument, Seed, Sets
from genloom.cli.output import emit, say, table
from genloom.cli.values import complete_data, find_run
from genloom.core.errors import InputError, Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

    from genloom.run import Run

Count = Annotated[int, typer.Option("-n", "--number", min=1, help="Number of samples.")]


def _load(run: str) -> Run:
    path = find_run(run)  # a wrong name is told before torch is imported

    from genloom import api

    return api.load(path)


def sample(
    run: RunArgument,
    n: Count = 16,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Class of the samples; repeat to take turns; the data's shares if not given."),
    ] = None,
    seed: Seed = 0,
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture of all samples in place of a file each.")
    ] = False,
    out: Out = None,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Write samples of RUN as files, or as one picture with --grid."""
    from genloom.core.config import parse_sets

    options = parse_sets(sets or [])
    trained = _load(run)
    paths = trained.write_samples(n, out, label=label or None, seed=seed, options=options, grid=grid)
    _written("sample", trained, paths, json, {"n": n, "label": label or None, "seed": seed, "options": options})


def _written(command: str, run: Run, paths: list[Path], as_json: bool, asked: dict[str, Any]) -> None:
    """Report the files written: each in the JSON document, for a person the one file or the folder."""
    if as_json:
        emit({"schema": f"genloom.{command}/1", "run": run.path, **asked, "files": paths})
        return
    print(paths[0] if len(paths) == 1 else paths[0].parent)
    if len(paths) > 1:
        say(f"{len(paths)} files written")


def evaluate(
    run: RunArgument,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DATA",
            help="Data to compare with; the run's own if not given.",
            autocompletion=complete_data,
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--number", min=2, help="Samples to judge; by the data's size if not given.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Judge RUN beside real data and a trivial baseline. Writes evaluation.json and report.html."""
    trained = _load(run)
    document = trained.evaluate(against, n=n, seed=seed, notify=say).to_json()
    if json:
        emit({**document, "schema": "genloom.evaluate/1", "run": trained.path, "report": trained.folder.report})
        return
    print(
        table(
            [("figure", "value", "95% interval", "real data", "no skill", ""), *map(_figure, document["figures"])],
            indent="",
        )
    )
    say(f"The report: {trained.folder.report}")


def _figure(figure: dict[str, Any]) -> tuple[str, ...]:
    """One row: the figure between what real data gets and what no skill gets."""
    interval = figure.get("interval")
    return (
        figure["name"],
        _number(figure["value"]),
        "" if interval is None else " to ".join(map(_number, interval)),
        _number(figure.get("ceiling")),
        _number(figure.get("floor")),
        figure.get("note") or "",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def reconstruct(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture: each image beside its reconstruction.")
    ] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Encode images and decode them again. For models with a latent space."""
    trained = _load(run)
    files = _files(images, trained)
    originals = [_read(path, trained) for path in files]
    results = trained.reconstruct(originals)
    folder = _folder(out, trained, "reconstruct")
    if grid:
        shown = [trained.modality.decode(trained.modality.encode(x)) for x in originals]  # at the model's resolution
        pairs = [image for pair in zip(shown, results, strict=True) for image in pair]
        paths = [_save(trained.modality.show(pairs, 2 * min(4, len(files))), folder / "reconstructions.png")]
    else:
        paths = trained.modality.write(results, folder, [f"{i:06d}-{path.stem}" for i, path in enumerate(files)])
    _written("reconstruct", trained, paths, json, {"images": files})


def _files(given: list[Path], run: Run) -> list[Path]:
    """The files given, folders replaced by the files of the run's modality in them."""
    found = list(_expand(given, frozenset(run.modality.extensions)))
    if not found:
        raise InputError(f"there are no {run.config.kind} files in {', '.join(map(str, given))}")
    return found


def _expand(given: list[Path], extensions: frozenset[str]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in extensions and p.is_file())
        elif path.exists():
            yield path
        else:
            raise InputError(f"there is no file {path}")


def _read(path: Path, run: Run) -> Any:
    try:
        return type(run.modality).read(path.read_bytes(), run.modality.config)
    except (Unreadable, OSError) as e:
        raise InputError(f"{path} cannot be read: {e}") from None


def interpolate(
    run: RunArgument,
    n: Annotated[int, typer.Option("-n", "--number", min=2, help="Steps from one end to the other.")] = 8,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Ways to show, between samples.")] = 4,
    between: Annotated[
        list[Path] | None,
        typer.Option("--between", metavar="IMAGE", help="Go between these images: give it twice, or four times ..."),
    ] = None,
    label: Label = None,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Draw ways between samples or images in latent space. One row each, for models that have one."""
    trained = _load(run)
    ends = [_read(path, trained) for path in _files(between, trained)] if between else None
    ways = trained.interpolate(n, rows=rows, seed=seed, label=label, between=ends)
    picture = trained.modality.show([image for way in ways for image in way], n)
    path = _save(picture, _folder(out, trained, "interpolate") / f"interpolation-{seed}.png")
    _written("interpolate", trained, [path], json, {"n": n, "rows": len(ways), "seed": seed, "label": label})


def _folder(out: Path | None, run: Run, default: str) -> Path:
    folder = out if out is not None else run.folder.samples / default
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{folder} cannot be made: {e.strerror or e}; choose another folder with -o") from None
    return folder


def _save(picture: Image, path: Path) -> Path:
    from genloom.core.files import write_atomic

    data = io.BytesIO()
    picture.save(data, "PNG")
    write_atomic(path, data.getvalue())
    return path


def register(app: typer.Typer) -> None:
    for command in (sample, evaluate, reconstruct, interpolate):
        app.command()(command)
