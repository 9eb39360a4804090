"""`reconstruct`, `interpolate` and `explain` of a model of tables, as a person types."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas")

Cli = Callable[..., Any]
HEADER = "nr,age,sex,town,pay"


def people(path: Path, n: int = 600) -> Path:
    """Women live in the east and are older; nothing is missing but pay. nr is an identifier."""
    draw = np.random.default_rng(0)
    sex = draw.choice(["F", "M"], n)
    age = np.round(np.where(sex == "F", 60, 30) + 4 * draw.normal(size=n), 1)
    pay = [f"{p:.0f}" if k else "" for p, k in zip(age * 10, draw.random(n) > 0.1, strict=True)]
    rows = [
        f"{i},{a},{s},{'东' if s == 'F' else '西'},{p}" for i, (a, s, p) in enumerate(zip(age, sex, pay, strict=True))
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def run(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("表")
    small = ("--set", "family.rows.width=32", "--set", "family.rows.depth=1", "--set", "train.batch=64")
    done = cli("train", people(folder / "p.csv"), "--model", "vae", "--steps", 300, "-o", folder / "run", *small)
    assert done.code == 0, done.err
    return folder / "run"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def rows(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def test_rows_through_codes_and_back(cli: Cli, run: Path, tmp_path: Path) -> None:
    given = rows(tmp_path / "g.csv", "901,61.5,F,东,615", "902,29,M,西,", "903,33,M,西,330")
    done = cli("reconstruct", run, given)
    made = rows_of(done.out)
    assert done.code == 0 and done.out.splitlines()[0] == HEADER, done.err
    assert [r["nr"] for r in made] == ["901", "902", "903"]  # what is not learnt tells which row it is
    assert [r["sex"] for r in made] == ["F", "M", "M"] and [r["town"] for r in made] == ["东", "西", "西"]
    assert float(made[0]["age"]) > 50 > float(made[2]["age"])
    written = cli("reconstruct", run, given, given, "-o", tmp_path / "out.csv")
    assert written.code == 0 and rows_of((tmp_path / "out.csv").read_text("utf-8")) == made + made
    assert cli("verify", tmp_path / "out.csv").code == 0
    document = cli("reconstruct", run, given, "--json").document
    assert document["rows"] == made and document["tables"] == [str(given)]


def test_other_columns_in_another_order(cli: Cli, run: Path, tmp_path: Path) -> None:
    done = cli("reconstruct", run, rows(tmp_path / "o.csv", "x,east?,东,F,600,60", header="a,b,town,sex,pay,age"))
    assert done.code == 0 and "2 columns that the model does not know: a, b, left out" in done.err
    assert rows_of(done.out)[0]["sex"] == "F"


def test_ways_between_rows(cli: Cli, run: Path, tmp_path: Path) -> None:
    ends = rows(tmp_path / "two.csv", "1,62,F,东,620", "2,28,M,西,280")
    made = rows_of(cli("interpolate", run, "--between", ends, "-n", 5).out)
    back = rows_of(cli("reconstruct", run, ends).out)
    assert len(made) == 5 and [made[0]["age"], made[-1]["age"]] == [r["age"] for r in back]
    assert [made[0]["sex"], made[-1]["sex"]] == ["F", "M"]
    ages = [float(r["age"]) for r in made]
    assert ages[0] > ages[2] > ages[4]
    document = cli("interpolate", run, "--between", ends, "-n", 2, "--json").document
    assert document["ways"] == 1 and len(document["rows"]) == 2


def test_ways_between_samples_are_made_again(cli: Cli, run: Path, tmp_path: Path) -> None:
    done = cli("interpolate", run, "-n", 3, "--rows", 2, "-o", run / "samples" / "ways.csv")
    made = rows_of(Path(done.out.strip()).read_text("utf-8"))
    assert len(made) == 6 and len({r["nr"] for r in made}) == 6
    again = cli("reproduce", run / "samples" / "ways.csv")
    assert again.code == 0, again.err + again.out
    lost = cli("reconstruct", run, rows(tmp_path / "g.csv", "1,62,F,东,620"), "-o", run / "samples" / "g.csv")
    assert lost.code == 0
    unkept = cli("reproduce", run / "samples" / "g.csv")
    assert unkept.code == 2 and "from files of which the record keeps only the digests" in unkept.err


@pytest.mark.parametrize(
    ("lines", "header", "match"),
    [
        (("1,62,F,东东,620",), HEADER, "no level of town (row 1) '东东'"),
        (("1,62,F,西,620",), HEADER, "no training row has sex=F with town=西 (row 1)"),
        (("1,62,F,东,620", "2,old,F,东,620"), HEADER, "'old' in row 2 is no age"),
        (("1,62,,东,620",), HEADER, "row 1 has no sex, and no training row lacked it; fill it in first"),
        (("1,62",), "nr,age", "the column 'sex' is not there, and a row is encoded whole; fill it in first"),
        (("1,2",), "a,b", "none of the model's columns; they are nr, age, sex, town, pay"),
        ((), HEADER, "no rows below its header"),
    ],
)
def test_rows_that_cannot_be_encoded(
    cli: Cli, run: Path, tmp_path: Path, lines: tuple[str, ...], header: str, match: str
) -> None:
    wrong = cli("reconstruct", run, rows(tmp_path / "w.csv", *lines, header=header))
    assert wrong.code == 2 and match in wrong.err and wrong.err.startswith("genloom: w.csv"), wrong.err
    assert wrong.err.count("\n") == 1 and not wrong.out


@pytest.mark.parametrize(
    ("command", "options", "match"),
    [
        ("interpolate", ("--between", "3"), "pairs of examples; got 3: give two, or four"),
        ("interpolate", ("--label", "F"), "--label is not for rows of tables; leave it out"),
        ("reconstruct", ("3", "--grid"), "--grid is not for rows of tables; leave it out"),
        ("reconstruct", ("3", "-o", "x.json"), "tables are .csv, .tsv, .parquet, .xlsx files"),
        ("sample", ("--fill", "3", "-n", 5), "gives a row for each of"),
        ("sample", ("--fill", "3", "--where", "sex=F"), "leave --where out"),
        ("sample", ("--only", "playable"), "--only is not for rows of tables"),
        ("sample", ("--max-tokens", 5), "--max-tokens is not for rows of tables"),
        ("sample", ("--set", "max_tokens=5"), "max_tokens is for sequences"),
        ("explain", ("3",), "rows of tables are not looked at one by one; leave the files out"),
    ],
)
def test_options_that_do_not_fit(
    cli: Cli, run: Path, tmp_path: Path, command: str, options: tuple[Any, ...], match: str
) -> None:
    three = rows(tmp_path / "3.csv", *["1,62,F,东,620"] * 3)
    given = [three if o == "3" else tmp_path / o if str(o).endswith(".json") else o for o in options]
    wrong = cli(command, run, *given)
    assert wrong.code == 2 and match in wrong.err, wrong.err


def test_a_model_without_codes_names_one_that_has(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    trained = cli("train", people(tmp_path / "p.csv", 80), "-o", tmp_path / "run", "--set", "family.boost.trees=5")
    assert trained.code == 0, trained.err
    for command in (("reconstruct", tmp_path / "p.csv"), ("interpolate",)):
        wrong = cli(command[0], tmp_path / "run", *command[1:])
        assert wrong.code == 2 and "forest has no latent space; for such data there is one in vae" in wrong.err
    nothing = cli("explain", tmp_path / "run")
    assert nothing.code == 2 and "the model forest of a table has no latents to show" in nothing.err
