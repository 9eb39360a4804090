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
    property_: Annotated[
        list[str] | None,
        typer.Option("--property", metavar="NAME=NUMBER", help="A number that samples shall have; repeat for more."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", "--title", help="What each text follows from: a title, a question.")
    ] = None,
    source_file: Annotated[
        Path | None, typer.Option("--source-file", metavar="FILE", help="A source on each line, which take turns.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Most tokens of a sequence.")] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="End a text before this; \\n is a line break; repeat for several."),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option("--known", metavar="FILE", help="Keep parts of this example, such as a melody; fill in the rest."),
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="The parts of --known to keep: voices, as in 1 or 1,4.")] = "1",
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="TRAIT", help="Keep samples with this trait alone, such as playable; see docs."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="With --only: change what lacks the trait a little, not draw it again.")
    ] = False,
    where: Annotated[
        str | None, typer.Option("--where", metavar="CONDITIONS", help="Rows of a table: sex=Female,age>60.")
    ] = None,
    fill: Annotated[
        Path | None, typer.Option("--fill", metavar="FILE", help="A table whose missing cells are filled in.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each text piece by piece as it comes.")] = False,
    no_mark: NoMark = False,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Write samples of RUN as files, or as one picture with --grid. Texts and rows of tables are printed unless -o is
    given, for tables a .csv, .tsv, .parquet or .xlsx file."""
    from genloom.core.config import parse_sets

    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "max_tokens": max_tokens}
    options = {**parse_sets(sets or []), **{k: v for k, v in given.items() if v is not None}}
    stops = [_escapes(s) for s in stop or []]
    if stream and (json or grid or out is not None):
        raise InputError("--stream prints the text itself; leave --json, --grid and -o out")
    if (stream or known is not None) and (only is not None or repair):
        raise InputError("--only and --repair are for whole samples; leave --stream and --known out")
    properties, sources = _numbers(property_ or []), _source_texts(source, source_file)
    trained = _load(run).writing(options.pop("modality", {}))
    if where or fill or trained.config.kind == "table":
        from genloom.cli.rows import not_for_rows, write

        others = {"--label": label, "--grid": grid, "--prompt": prompt, "--suffix": suffix, "--stop": stop,
                  "--property": property_, "--source": sources, "--known": known, "--stream": stream,
                  "--only": only, "--repair": repair, "--max-tokens": max_tokens}  # fmt: skip
        not_for_rows(others, "; ask for them by --where or --fill")
        write(trained, n, out, where, fill, {"seed": seed, "options": options}, not no_mark, json)
        return
    is_text = trained.modality.shows_text and not grid
    number = n if n is not None else len(sources) if sources and source_file else 4 if is_text else 16
    if stream:
        _stream(trained, number, label, seed, options, _escapes(prompt), stops, properties, sources)
        return
    asked = {
        "n": number, "label": label or None, "seed": seed, "options": options, "properties": properties,
        "source": sources, "only": only, "repair": repair,
    }  # fmt: skip
    if known is not None:
        _complete(trained, known, keep, asked, out, not no_mark, json)
        return
    if is_text and out is None:
        texts = trained.sample(
            number, label=label or None, seed=seed, options=options, prompt=_escapes(prompt), suffix=_escapes(suffix),
            stop=stops, properties=properties, source=sources, only=only, repair=repair, notify=say,
        )  # fmt: skip
        if json:
            emit({"schema": "genloom.sample/1", "run": trained.path, **asked, "texts": texts})
        else:
            print(trained.modality.show(texts), end="")
        return
    paths = trained.write_samples(
        number, out, label=label or None, seed=seed, options=options, grid=grid, prompt=_escapes(prompt),
        suffix=_escapes(suffix), stop=stops, properties=properties, source=sources, only=only, repair=repair,
        mark=not no_mark, notify=say,
    )  # fmt: skip
    _written("sample", trained, paths, json, asked)


def _numbers(pairs: list[str]) -> dict[str, float | list[float]]:
    """["length=40"] as {"length": 40.0}; a name given several times takes turns."""
    out: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            number = float(text)
        except ValueError:
            raise InputError(f"--property takes a name and a number, as in length=40; got {pair!r}") from None
        out.setdefault(name.strip(), []).append(number)
    return {name: values[0] if len(values) == 1 else values for name, values in out.items()}


def _source_texts(source: str | None, file: Path | None) -> list[str] | None:
    """What the samples follow from; None where nothing is said."""
    if source is not None and file is not None:
        raise InputError("give either --source or --source-file")
    if file is None:
        return None if source is None else [_escapes(source)]
    try:
        lines = [line for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{file} cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if not lines:
        raise InputError(f"{file} is empty; it needs a source on each line")
    return lines


def _complete(
    run: Run, path: Path, keep: str, asked: dict[str, Any], out: Path | None, mark: bool, as_json: bool
) -> None:
    """Write samples in which parts of the example in a file are kept."""
    example = _read(path, run)[0]
    examples = run.complete(
        example, keep, asked["n"], label=asked["label"], seed=asked["seed"], options=asked["options"]
    )
    asked = {**asked, "known": sha256_of(path), "keep": keep, "files": run.files}
    marker = run.marker("complete", asked, mark=mark, notify=say)
    folder = _folder(out, run, "complete")
    stems = [f"{i:06d}-{path.stem}" for i in range(len(examples))]
    marker.places = {stem: (i, None) for i, stem in enumerate(stems)}
    paths = run.modality.write(examples, folder, stems, marker)
    marker.record(folder)
    _written("sample", run, paths, as_json, asked)


def _escapes(text: str) -> str:
    r"""A text from the command line with \n and \t as the characters they stand for (and \\ as a backslash)."""
    names = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda m: names[m.group(1)], text)


def _stream(
    run: Run,
    n: int,
    label: list[str] | None,
    seed: int,
    options: dict[str, Any],
    prompt: str,
    stops: list[str],
    properties: dict[str, float | list[float]],
    sources: list[str] | None,
) -> None:
    """Print n texts, each as it is generated. The i-th is that of seed + i."""
    for i in range(n):
        wanted = label[i % len(label)] if label else None
        print(prompt, end="", flush=True)
        turn = {k: v[i % len(v)] if isinstance(v, list) else v for k, v in properties.items()}
        for piece in run.stream(
            prompt, label=wanted, seed=seed + i, options=options, stop=stops, properties=turn,
            source=sources[i % len(sources)] if sources else None, notify=say,
        ):  # fmt: skip
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
    if document["task"]:
        signatures = dict.fromkeys(document["task"]["signatures"].values())
        print(f"\n{document['task']['n']} held-out sources; " + "; ".join(signatures))
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
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files, or folders of them; of texts that are lines, each line."),
    ],
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture or text: each example beside its reconstruction.")
    ] = False,
    out: Out = None,
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Encode examples and decode them again. For models with a latent space. Texts and rows of tables are printed
    unless -o is given, for tables a .csv, .tsv, .parquet or .xlsx file."""
    trained = _load(run)

    from genloom.run import save_shown

    trained.latent()
    found = _files(files, trained)
    if trained.config.kind == "table":
        from genloom.cli.rows import not_for_rows, reconstruct

        not_for_rows({"--grid": grid})
        reconstruct(trained, found, out, not no_mark, json)
        return
    stems, originals = [], []
    for path in found:
        parts = _read(path, trained)
        stems += [path.stem] if len(parts) == 1 else [f"{path.stem}-{k}" for k in range(len(parts))]
        originals += parts
    if trained.modality.shows_text and out is None and not grid:
        texts = trained.reconstruct(originals)
        if json:
            pairs = [{"text": a, "reconstruction": b} for a, b in zip(originals, texts, strict=True)]
            emit({"schema": "genloom.reconstruct/1", "run": trained.path, "files": found, "texts": pairs})
        else:
            print("\n".join(f"{a}\n  {b}" for a, b in zip(originals, texts, strict=True)))
        return
    asked = {"grid": grid, "images": [sha256_of(path) for path in found]}
    marker = trained.marker("reconstruct", asked, mark=not no_mark, notify=say)
    results = trained.reconstruct(originals)
    folder = _folder(out, trained, "reconstruct")
    if grid:
        shown = [trained.modality.decode(trained.modality.encode(x)) for x in originals]  # at the model's resolution
        pairs = [image for pair in zip(shown, results, strict=True) for image in pair]
        picture = trained.modality.show(pairs, 2 * min(4, len(originals)))
        paths = [save_shown(picture, folder / "reconstructions", marker)]
    else:
        stems = [f"{i:06d}-{stem}" for i, stem in enumerate(stems)]
        marker.places = {stem: (i, None) for i, stem in enumerate(stems)}
        paths = trained.modality.write(results, folder, stems, marker)
    marker.record(folder)
    _written("reconstruct", trained, paths, json, {"images": found})


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


def _read(path: Path, run: Run) -> list[Any]:
    """The examples in a file."""
    try:
        return run.modality.parts(type(run.modality).read(path.read_bytes(), run.modality.config))
    except (Unreadable, OSError) as e:
        raise InputError(f"{path} cannot be read: {e}") from None


def interpolate(
    run: RunArgument,
    n: Annotated[int, typer.Option("-n", "--number", min=2, help="Steps from one end to the other.")] = 8,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Ways to show, between samples.")] = 4,
    between: Annotated[
        list[Path] | None,
        typer.Option(
            "--between", metavar="FILE", help="Go between the examples in these files: give it twice, or four times ..."
        ),
    ] = None,
    label: Label = None,
    seed: Seed = 0,
    out: Out = None,
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Draw ways between samples or examples in latent space, a row each. Texts and rows of tables are printed unless
    -o is given."""
    trained = _load(run)

    from genloom.run import save_shown

    trained.latent()
    given = _files(between, trained) if between else []
    if trained.config.kind == "table":
        from genloom.cli.rows import interpolate, not_for_rows

        not_for_rows({"--label": label})
        interpolate(trained, given, {"n": n, "rows": rows, "seed": seed}, out, not no_mark, json)
        return
    ends = [part for path in given for part in _read(path, trained)] or None
    if trained.modality.shows_text and out is None:
        ways = trained.interpolate(n, rows=rows, seed=seed, label=label, between=ends)
        if json:
            found = {"schema": "genloom.interpolate/1", "run": trained.path, "n": n, "rows": len(ways), "seed": seed}
            emit({**found, "label": label, "texts": ways})
        else:
            print("\n\n".join("\n".join(way) for way in ways))
        return
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
