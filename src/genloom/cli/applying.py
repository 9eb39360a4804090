"""`genloom translate`, `summarise` and `chat`: what a run that learnt pairs or conversations does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.generating import _load
from genloom.cli.options import Json, NoMark, RunArgument, Seed, Sets
from genloom.cli.output import emit, say
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.apply.dialogue import Conversation
    from genloom.run import Run

Beams = Annotated[int | None, typer.Option("--beams", min=1, help="Hypotheses kept; 1 takes the most probable token.")]
Penalty = Annotated[
    float | None, typer.Option("--length-penalty", min=0.0, help="Above 0 favours longer sentences; 1 if not given.")
]
Output = Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write to, a line each.")]


def translate(
    run: RunArgument,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT...]", help="Sentences to translate.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A sentence on each line; - is standard input.")
    ] = None,
    out: Output = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Write TRANSLATION<TAB>SENTENCE, to train the other way (back-translation)."),
    ] = False,
    beams: Beams = None,
    length_penalty: Penalty = None,
    seed: Seed = 0,
    no_mark: NoMark = False,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Translate sentences: arguments, the lines of a file, or of standard input. Prints a line for each."""
    if texts and file is not None:
        raise InputError("give either sentences or --file, not both")
    sources = [line for t in texts for line in t.splitlines()] if texts else _lines(file)
    if pairs and out is None:
        raise InputError("--pairs needs the file to write to: -o back.tsv")
    _follow("translate", run, sources, out, beams, length_penalty, seed, not no_mark, sets, json, pairs)


def summarise(
    run: RunArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="A document each; standard input if none is given.")
    ] = None,
    out: Output = None,
    beams: Beams = None,
    length_penalty: Penalty = None,
    seed: Seed = 0,
    no_mark: NoMark = False,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Summarise documents: files, or standard input. Prints a summary for each."""
    sources = [_read(path) for path in files] if files else [_stdin("document")]
    blank = next((i for i, s in enumerate(sources) if not s.strip()), None)
    if blank is not None:
        raise InputError(f"{files[blank] if files else 'standard input'} is empty; there is nothing to summarise")
    _follow("summarise", run, sources, out, beams, length_penalty, seed, not no_mark, sets, json)


def _follow(
    task: str, run: str, sources: list[str], out: Path | None, beams: int | None, penalty: float | None, seed: int,
    mark: bool, sets: list[str] | None, as_json: bool, pairs: bool = False,
) -> None:  # fmt: skip
    from genloom.core.config import parse_sets

    given = {k: v for k, v in {"beams": beams, "length_penalty": penalty}.items() if v is not None}
    options = {**parse_sets(sets or []), **given}
    if not sources:
        raise InputError(f"there is nothing to {task}: give texts, a file, or lines on standard input")
    trained = _load(run)
    method = trained.translate if task == "translate" else trained.summarise
    texts = method(sources, options=options, seed=seed, notify=say)
    asked = {"seed": seed, "options": options, "source": sources}
    if out is not None:
        lines = [" ".join(t.splitlines()) for t in texts]
        if pairs:
            lines = [f"{t}\t{s}" for t, s in zip(lines, sources, strict=True) if t.strip()]
        _write(trained, task, asked, lines, out, mark)
    if as_json:
        where = {} if out is None else {"file": out}
        emit({"schema": f"genloom.{task}/1", "run": trained.path, **asked, "texts": texts, **where})
    elif out is not None:
        print(out)
    else:
        print("\n".join(texts))


def _write(run: Run, task: str, asked: dict[str, Any], lines: list[str], out: Path, mark: bool) -> None:
    """The lines of one file, with the record of what made them beside it."""
    from genloom.core.files import write_atomic

    marker = run.marker(task, asked, mark=mark, notify=say)
    marker.places = {out.stem: (0, None)}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{out.parent} cannot be made: {e.strerror or e}; choose another file with -o") from None
    write_atomic(out, marker(out, "".join(f"{line}\n" for line in lines).encode()))
    marker.record(out.parent)


def _lines(file: Path | None) -> list[str]:
    text = _stdin("sentence") if file is None or str(file) == "-" else _read(file)
    return text.splitlines()


def _stdin(what: str) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(f"there is no {what}: give one, or send it on standard input")
    return sys.stdin.read()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}") from None


def chat(
    run: RunArgument,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", "-m", help="Say this and end; repeat it for a conversation of several turns."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="What stands before the conversation.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Below 1 tamer, above 1 wilder; 0.7 if not given.")
    ] = None,
    seed: Seed = 0,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Talk with RUN. On a terminal turn by turn, an empty line ends it; else each line of standard input is a turn."""
    from genloom.core.config import parse_sets

    options = {**parse_sets(sets or []), **({} if temperature is None else {"temperature": temperature})}
    there = sys.stdin is not None and sys.stdin.isatty()
    if json and not message and there:
        raise InputError("--json needs what is said: --message, or lines on standard input")
    trained = _load(run)
    talk = trained.chat(system=system, options=options, seed=seed, notify=say)
    if message or not there:
        said = [t for t in (message or _stdin("message").splitlines()) if t.strip()]
        if not said:
            raise InputError("nothing is said: give --message, or lines on standard input")
        for text in said:
            _answer(talk, text, quiet=json)
    else:
        _converse(talk)
    if json:
        turns = [{"role": t.role, "content": t.text} for t in talk.turns]
        emit({"schema": "genloom.chat/1", "run": trained.path, "seed": seed, "options": options, "messages": turns})


def _converse(talk: Conversation) -> None:
    say("Say something; an empty line ends the conversation. The replies are a model's, made up and often wrong.")
    while True:
        try:
            text = input("> ")
        except EOFError:
            return
        if not text.strip():
            return
        try:
            _answer(talk, text)
        except InputError as e:  # a script that it does not know: say it and go on
            talk.turns = talk.turns[:-1]
            say(str(e))


def _answer(talk: Conversation, text: str, quiet: bool = False) -> None:
    for piece in talk.stream(text):
        if not quiet:
            print(piece, end="", flush=True)
    if not quiet:
        print(flush=True)


def register(app: typer.Typer) -> None:
    for command in (translate, summarise, chat):
        app.command()(command)
