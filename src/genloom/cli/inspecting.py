"""`genloom inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.options import Json, Seed, Sets
from genloom.cli.output import emit, say, table
from genloom.cli.values import complete_data, complete_model, complete_recipe

if TYPE_CHECKING:
    from genloom.inspection import Inspection

EXAMPLES, EXCERPT = 3, 80  # shown of each finding, and characters of a text; the page and --json have more


def inspect(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            autocompletion=complete_data,
            help="As for `genloom train`: a folder, file or name.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Family that the estimate is for.", autocompletion=complete_model),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="Recipe that the estimate is for.", autocompletion=complete_recipe),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Training time that the estimate is for: 10m, 1h.")
    ] = None,
    sets: Sets = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML file.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures of what was found.")
    ] = None,
    augment: Annotated[
        Path | None,
        typer.Option("--augment", metavar="FILE", help="Write a PNG of examples as the augmentation set changes them."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="Examples that --augment shows.")] = 6,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Look at DATA before training: what is in it, what to mend, how long a training takes. Trains nothing."""
    from genloom.core.config import parse_sets
    from genloom.core.errors import InputError

    for option, path in (("--html", html), ("--augment", augment)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise InputError(f"{option} cannot write {path}: {why}; give the name of a file in a folder that exists")
    settings = parse_sets(sets or [])

    from genloom import api

    found = api.inspect(data, model=model, recipe=recipe, budget=budget, settings=settings, config=config, notify=say)
    written: dict[str, Any] = {"page": html, "augmented": None}
    preview = None
    if augment is not None and found.usable:
        preview = found.preview(n, seed)
        written["augmented"] = _write(preview, augment)
    if html is not None:
        found.write_page(html, preview)
    if json:
        emit({"schema": "genloom.inspect/1", **found.to_json(), **written})
    else:
        _show(found)
        for path in filter(None, written.values()):
            say(f"written: {path}")
    if not found.usable:
        raise typer.Exit(2)


def _write(preview: Any, path: Path) -> Path:
    """A picture as PNG, text as UTF-8."""
    import io

    from genloom.core.files import write_atomic

    if isinstance(preview, str):
        write_atomic(path, preview.encode())
    else:
        data = io.BytesIO()
        preview.save(data, "PNG")
        write_atomic(path, data.getvalue())
    return path


def _show(found: Inspection) -> None:
    from genloom.inspection.page import estimate_lines, headline, said

    print(f"{found.name}: {found.kind}, {found.readable:,} {found.noun}")
    rows = [(name, f"{n:,}") for name, n in found.splits.items()]
    if found.classes:
        shown = [f"{name} {n:,}" for name, n in list(found.classes.items())[:12]]
        more = f" and {len(found.classes) - 12:,} more" if len(found.classes) > 12 else ""
        rows.append((f"{len(found.classes):,} classes", " · ".join(shown) + more))
    rows += [(fact.name, said(fact)) for fact in found.facts]
    if rows:
        print(f"\n{table(rows)}")
    estimate = estimate_lines(found)
    if estimate:
        print(f"\nA training of it\n{table(estimate)}")
    print(f"\n{headline(found)}")
    prefix = found.prefix()
    if prefix:
        print(f"Places are below {prefix}")
    for finding in found.findings:
        lines = [("", finding.what), ("", f"→ {finding.advice}")]
        for group in finding.groups[:EXAMPLES]:
            places = " ~ ".join(o.removeprefix(prefix) for o in group.origins)
            first = group.examples[0] if group.examples else None
            text = " ".join(first[:EXCERPT].split()) if isinstance(first, str) else ""
            excerpt = f"“{text}{'…' if isinstance(first, str) and len(first) > EXCERPT else ''}”" if text else ""
            lines.append(("", f"· {': '.join(p for p in (group.quote, places, excerpt) if p)}"))
        if len(finding.groups) > EXAMPLES:
            lines.append(("", f"· and {len(finding.groups) - EXAMPLES:,} more groups with --html or --json"))
        print(f"\n{table([(finding.severity, lines[0][1]), *lines[1:]])}")


def register(app: typer.Typer) -> None:
    app.command()(inspect)
