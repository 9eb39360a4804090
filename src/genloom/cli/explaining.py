"""`genloom explain`: why samples look as they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.generating import _escapes, _files, _folder, _load, _read
from genloom.cli.options import Json, NoMark, Out, RunArgument, Seed
from genloom.cli.output import emit, say, table
from genloom.cli.values import complete_data
from genloom.core.errors import InputError
from genloom.core.files import sha256_of, write_json

if TYPE_CHECKING:
    from genloom.run import Run
    from genloom.run.explaining import Part

MOST_FILES = 32


def explain(
    run: RunArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="Files to look at, or folders of them; samples of RUN if none."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=MOST_FILES, help="Samples to look at.")] = 6,
    k: Annotated[int, typer.Option("-k", min=1, max=20, help="Training examples beside each.")] = 5,
    by: Annotated[
        str,
        typer.Option("--by", metavar="SPACE", help="What is near: values, or learnt features (which takes longer)."),
    ] = "values",
    latents: Annotated[bool, typer.Option("--latents", help="Only what the latents do.")] = False,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="Only how surprising each token of this text is; \\n is a line break; repeat."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="DATA", help="Where the training data lies now.", autocompletion=complete_data
        ),
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Show the training examples that samples (or files) of RUN are nearest to, with distances; what each latent does;
    and which tokens of a text surprise it."""
    if by not in ("values", "features"):
        raise InputError(f"--by is values or features; got {by!r}")
    trained = _load(run)

    from genloom.run import save_shown
    from genloom.run.explaining import Asked, data_or_reason, document_of, explained, pictured

    _of_rows(trained, bool(files))
    paths = _files(files, trained) if files else []
    if len(paths) > MOST_FILES:
        raise InputError(f"{len(paths)} files are too many to look at; give at most {MOST_FILES}")
    _check(trained, latents, text, by)
    given = [(part, path.name) for path in paths for part in _read(path, trained)]
    if len(given) > MOST_FILES:
        raise InputError(f"{len(given)} examples are too many to look at; give at most {MOST_FILES}")
    asked = Asked(
        nearest=bool(files) or not (latents or text),
        latents=latents or not (files or text),
        surprise=bool(text) or not (files or latents),
        n=n, k=k, seed=seed, features=by == "features",
        examples=tuple(part for part, _ in given), names=tuple(name for _, name in given),
        texts=tuple(_escapes(t) for t in text or []),
    )  # fmt: skip
    data, missing = (None, "") if text and not (files or latents) else data_or_reason(trained, against, say)
    parts = explained(trained, data, missing, asked, say)
    if missing:
        if not any(p.document["rows"] for p in parts.values()):
            raise InputError(missing)
        say(missing)
    facts = {"n": n, "k": k, "by": by, "seed": seed, "latents": latents, "files": [sha256_of(p) for p in paths]}
    marker = trained.marker("explain", facts, mark=not no_mark, notify=say) if _drawn(parts) else None
    for name, part in parts.items():
        picture = pictured(name, part)
        if picture is None or marker is None:
            continue
        part.document["picture"] = str(save_shown(picture, _folder(out, trained, "explain") / name, marker))
    document = document_of(parts)
    if marker is not None:
        marker.record(_folder(out, trained, "explain"))
    if out is not None:
        write_json(_folder(out, trained, "explain") / "explanation.json", document)
    if json:
        emit({**document, "schema": "genloom.explain/1", "run": trained.path})
        return
    show = {"nearest": _show_nearest, "latents": _show_latents, "surprise": _show_surprise}
    print("\n\n".join(show[name](part) for name, part in parts.items() if "reason" not in part.document))


def _of_rows(run: Run, given: bool) -> None:
    """Raise InputError where a model of tables has nothing to show."""
    from genloom.core.spec import Row
    from genloom.evaluate.traversals import has_latents

    if not isinstance(run.modality.spec, Row):
        return
    if not has_latents(run.family):
        raise InputError(
            f"the model {run.config.model} of a table has no latents to show; `genloom evaluate {run.path}` says how "
            "near its rows are to training rows"
        )
    if given:
        raise InputError(
            "rows of tables are not looked at one by one; leave the files out to see the latents, and see how near "
            f"rows are to training rows by `genloom evaluate {run.path}`"
        )


def _check(run: Run, latents: bool, text: list[str] | None, by: str) -> None:
    """Raise InputError for what the model does not have."""
    from genloom.core.family import HasPredictions
    from genloom.core.spec import Tokens
    from genloom.evaluate.traversals import has_latents

    sequences = isinstance(run.modality.spec, Tokens)
    if latents and not has_latents(run.family):
        raise InputError(
            f"the model {run.config.model} has no latents to move (vae, autoencoder, fsq and gan have); leave "
            "--latents out"
        )
    if text and not (sequences and isinstance(run.family, HasPredictions)):
        raise InputError(f"the model {run.config.model} of {run.config.kind} does not predict tokens; leave --text out")
    if by == "features" and sequences:
        raise InputError("texts are compared by short runs of tokens; leave --by out")


def _drawn(parts: dict[str, Part]) -> bool:
    return any(p.strips for p in parts.values())


def _show_nearest(part: Part) -> str:
    d = part.document
    usual = d["held_out"]["quantiles"]
    head = f"nearest of {d['searched']:,} training {d.get('what', 'examples')}, distance in {d['space']}"
    if usual:
        words = ", ".join(f"{float(q):.0%} below {v:.4g}" for q, v in usual.items())
        head += f"\nfor scale, {d['held_out']['count']:,} held-out examples to their nearest: {words}"
    if any("text" in r for r in d["rows"]):
        return "\n\n".join([head, *map(_beside, d["rows"])])
    rows = [("", "held-out nearer", "nearest", "which")]
    for r in d["rows"]:
        share = "-" if r["held_out_nearer"] is None else f"{r['held_out_nearer']:.0%}"
        for j, found in enumerate(r["neighbours"]):
            equal = " (equal)" if j == 0 and r.get("exact") else ""
            start = (r["name"], share) if j == 0 else ("", "")
            rows.append((*start, f"{found['distance']:.4g}{equal}", _which(found)))
    return "\n".join([head, table(rows, indent=""), *_picture(d)])


def _which(found: dict[str, Any]) -> str:
    more = " · ".join(v for v in (found["label"], found["origin"]) if v)
    return f"training example {found['training']:,}" + (f" · {more}" if more else "")


def _beside(row: dict[str, Any]) -> str:
    share = row["held_out_nearer"]
    lines = [f"── {row['name']}" + ("" if share is None else f" · {share:.0%} of held-out texts are as near") + " ──"]
    lines += [row["text"].strip("\n"), f"   longest passage shared with the training data: {row['shared']!r}"]
    for found in row["neighbours"]:
        where = _which(found) if found["origin"] or found["label"] else f"training text {found['training']:,}"
        lines += [
            f"   {found['distance']:.3f}  {where}",
            *("   │ " + t for t in found["text"].strip("\n").splitlines()),
        ]
    return "\n".join(lines)


def _show_latents(part: Part) -> str:
    from genloom.evaluate.explanation import activity

    d = part.document
    head = f"{d['used']} of {d['latents']} latents in use; moved by -2 to +2 standard deviations around {d['around']}"
    rows = [("latent", "carries"), *((str(r["latent"]), activity(r, d)) for r in d["rows"])]
    return "\n".join([head, table(rows, indent=""), *_picture(d)])


def _picture(document: dict[str, Any]) -> list[str]:
    return [document["picture"]] if "picture" in document else []


def _show_surprise(part: Part) -> str:
    from genloom.evaluate.explanation import visible

    blocks = []
    for r in part.document["rows"]:
        head = (
            f"{r['source']}: {r['nats_per_token']:.3f} nats a token over {r['tokens']:,} tokens, perplexity "
            f"{r['perplexity']:.4g} (all alike: {r['uniform']:.2f} nats)"
        )
        if r["cut"]:
            head += f"; {r['cut']:,} more tokens are left out"
        rows = [("token", "nats", "rank", "expected")]
        for p in r["pieces"]:
            likeliest = f"{visible(p['expected'])} ({p['chance']:.0%})"
            rows.append((visible(p["text"]), f"{p['nats']:.2f}", f"{p['rank']:,}", likeliest))
        blocks.append(f"{head}\n{table(rows, indent='')}")
    return "\n\n".join(blocks)


def register(app: typer.Typer) -> None:
    app.command()(explain)
