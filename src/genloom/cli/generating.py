"""`genloom sample`, `evaluate`, `reconstruct` and `interpolate`: what a finished run can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genloom.cli.options import Json, Label, NoMark, Out, RunArgument, Seed, Sets
from genloom.cli.output import emit, say, table
from genloom.cli.values import complete_data, find_run
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import sha256_of

if TYPE_CHECKING:
    from genloom.run import Run


def _load(run: str) -> Run:
    path = find_run(run)  # a wrong name is told before torch is imported

    from genloom import api

    return api.load(path)


def sample(
    run: RunArgument,
    n: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="Number of samples; 16, or 4 texts, if not given.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Class of the samples; repeat to take turns; the data's shares if not given."),
    ] = None,
    seed: Seed = 0,
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture (or text) of all samples in place of a file each.")
    ] = False,
    out: Out = None,
    prompt: Annotated[str, typer.Option("--prompt", help="What each text begins with.")] = "",
    suffix: Annotated[
        str, typer.Option("--suffix", help="What each text ends with; the gap between is filled (see family.infill).")
    ] = "",
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of sequences: below 1 tamer, 0 the most probable.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw from the k most probable tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the fewest tokens with this probability together.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Most tokens of a sequence.")] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="End a text before this; \\n is a line break; repeat for several."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="TRAIT", help="Keep samples with this trait alone, such as playable; see docs."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="With --only: change what lacks the trait a little, not draw it again.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print each text piece by piece as it comes.")] = False,
    no_mark: NoMark = False,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Write samples of RUN as files, or as one picture with --grid. Texts are printed unless -o is given."""
    from genloom.core.config import parse_sets

    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "max_tokens": max_tokens}
    options = {**parse_sets(sets or []), **{k: v for k, v in given.items() if v is not None}}
    stops = [_escapes(s) for s in stop or []]
    if stream and (json or grid or out is not None):
        raise InputError("--stream prints the text itself; leave --json, --grid and -o out")
    trained = _load(run)
    is_text = trained.modality.shows_text and not grid
    number = n if n is not None else 4 if is_text else 16
    if stream:
        _stream(trained, number, label, seed, options, _escapes(prompt), stops)
        return
    asked = {"n": number, "label": label or None, "seed": seed, "options": options}
    if is_text and out is None:
        texts = trained.sample(
            number, label=label or None, seed=seed, options=options, prompt=_escapes(prompt), suffix=_escapes(suffix),
            stop=stops, only=only, repair=repair, notify=say,
        )  # fmt: skip
        if json:
            emit({"schema": "genloom.sample/1", "run": trained.path, **asked, "texts": texts})
        else:
            print(trained.modality.show(texts), end="")
        return
    paths = trained.write_samples(
        number, out, label=label or None, seed=seed, options=options, grid=grid, prompt=_escapes(prompt),
        suffix=_escapes(suffix), stop=stops, only=only, repair=repair, mark=not no_mark, notify=say,
    )  # fmt: skip
    _written("sample", trained, paths, json, asked)


def _escapes(text: str) -> str:
    r"""A text from the command line with \n and \t as the characters they stand for (and \\ as a backslash)."""
    names = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda m: names[m.group(1)], text)


def _stream(
    run: Run, n: int, label: list[str] | None, seed: int, options: dict[str, Any], prompt: str, stops: list[str]
) -> None:
    """Print n texts, each as it is generated. The i-th is that of seed + i."""
    for i in range(n):
        wanted = label[i % len(label)] if label else None
        print(prompt, end="", flush=True)
        for piece in run.stream(prompt, label=wanted, seed=seed + i, options=options, stop=stops, notify=say):
            print(piece, end="", flush=True)
        print("\n" if i + 1 < n else "", flush=True)


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
    features: Annotated[
        Literal["learned", "inception", "dinov2"] | None,
        typer.Option(
            "--features", help="What distances are measured in; if not given, learned from the data (see docs/cli.md)."
        ),
    ] = None,
    features_weights: Annotated[
        Path | None,
        typer.Option(
            "--features-weights",
            metavar="PATH",
            help="File or folder with the weights of inception or dinov2; $GENLOOM_FEATURES if not given.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge RUN beside real data and a trivial baseline. Writes evaluation.json and report.html."""
    trained = _load(run)
    document = trained.evaluate(
        against, n=n, seed=seed, features=features, weights=features_weights, notify=say
    ).to_json()
    if json:
        emit({**document, "schema": "genloom.evaluate/1", "run": trained.path, "report": trained.folder.report})
        return
    print(
        table(
            [("figure", "value", "95% interval", "real data", "no skill", ""), *map(_figure, document["figures"])],
            indent="",
        )
    )
    if document["copying"]:
        print(f"\ncopying: {document['copying']['verdict']}\n{document['copying']['sentence']}")
    for warning in (document["groups"] or {}).get("warnings", ()):
        print(warning)
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
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Encode images and decode them again. For models with a latent space."""
    trained = _load(run)

    from genloom.run import save_shown

    files = _files(images, trained)
    originals = [_read(path, trained) for path in files]
    asked = {"grid": grid, "images": [sha256_of(path) for path in files]}
    marker = trained.marker("reconstruct", asked, mark=not no_mark, notify=say)
    results = trained.reconstruct(originals)
    folder = _folder(out, trained, "reconstruct")
    if grid:
        shown = [trained.modality.decode(trained.modality.encode(x)) for x in originals]  # at the model's resolution
        pairs = [image for pair in zip(shown, results, strict=True) for image in pair]
        picture = trained.modality.show(pairs, 2 * min(4, len(files)))
        paths = [save_shown(picture, folder / "reconstructions", marker)]
    else:
        stems = [f"{i:06d}-{path.stem}" for i, path in enumerate(files)]
        marker.places = {stem: (i, None) for i, stem in enumerate(stems)}
        paths = trained.modality.write(results, folder, stems, marker)
    marker.record(folder)
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
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Draw ways between samples or images in latent space. One row each, for models that have one."""
    trained = _load(run)

    from genloom.run import save_shown

    given = _files(between, trained) if between else []
    ends = [_read(path, trained) for path in given] or None
    asked = {"n": n, "rows": rows, "seed": seed, "label": label, "between": [sha256_of(path) for path in given]}
    marker = trained.marker("interpolate", asked, mark=not no_mark, notify=say)
    ways = trained.interpolate(n, rows=rows, seed=seed, label=label, between=ends)
    picture = trained.modality.show([image for way in ways for image in way], n)
    folder = _folder(out, trained, "interpolate")
    path = save_shown(picture, folder / f"interpolation-{seed}", marker)
    marker.record(folder)
    _written("interpolate", trained, [path], json, {"n": n, "rows": len(ways), "seed": seed, "label": label})


def _folder(out: Path | None, run: Run, default: str) -> Path:
    folder = out if out is not None else run.folder.samples / default
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{folder} cannot be made: {e.strerror or e}; choose another folder with -o") from None
    return folder


def register(app: typer.Typer) -> None:
    for command in (sample, evaluate, reconstruct, interpolate):
        app.command()(command)
