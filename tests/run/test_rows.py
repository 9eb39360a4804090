"""Rows of a trained model: what is asked of them, holes, constraints, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("lightgbm")
import genloom  # noqa: E402
from genloom.core.errors import InputError  # noqa: E402
from genloom.run import Run, reproduce  # noqa: E402
from genloom.run.generate import generate  # noqa: E402

N = 1500


def people() -> Any:
    """Women are paid more, rarely so in the south; nobody begins after the end; ids run on."""
    draw = np.random.default_rng(0)
    sex, place = draw.choice(["Female", "Male"], N), draw.choice(["north", "south", "west"], N, p=[0.5, 0.4, 0.1])
    start = draw.integers(1980, 2015, N)
    pay = np.round(30 + 10 * (sex == "Female") * (place != "south") + 3 * draw.normal(size=N), 1)
    return pd.DataFrame(
        {
            "id": np.arange(N), "sex": sex, "place": place, "start": start, "end": start + draw.integers(1, 9, N),
            "pay": np.where(draw.random(N) < 0.1, np.nan, pay),
            "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(draw.integers(0, 300, N), "D"),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {"modality.constraints": ["start<end", "unique(id)"], "family.boost.trees": 15}
    return genloom.train(people(), target="pay", out=tmp_path_factory.mktemp("runs") / "people", settings=settings)


def test_a_dataframe_in_and_one_of_the_same_form_out(run: Run) -> None:
    real, made = people(), run.sample(1000)
    assert list(made.columns) == list(real.columns) and made.dtypes.equals(real.dtypes)
    assert (made["start"] < made["end"]).all() and made["id"].is_unique and made["id"].min() == N
    assert made["pay"].isna().mean() == pytest.approx(0.1, abs=0.04)
    pay = made["pay"].dropna()
    assert pay.between(real["pay"].min(), real["pay"].max()).all() and np.allclose(pay, pay.round(1))
    means = made.groupby(["sex", "place"])["pay"].mean()
    assert means["Female", "north"] - means["Male", "north"] > 6
    assert abs(means["Female", "south"] - means["Male", "south"]) < 3
    pd.testing.assert_frame_equal(run.sample(10), made.head(10))
    assert not run.sample(10, seed=1).equals(made.head(10))


def test_rows_that_are_asked_for(run: Run) -> None:
    said: list[str] = []
    made = run.sample(300, where="sex=Female,place=west|south,start>=2000,day<2024-03-01", notify=said.append)
    assert len(made) == 300 and (made["sex"] == "Female").all() and set(made["place"]) == {"west", "south"}
    assert made["start"].min() >= 2000 and made["day"].max() < pd.Timestamp("2024-03-01")
    assert any("rows that were made" in s and "meet the conditions" in s for s in said)
    assert (run.sample(50, where={"place": ["west"]})["place"] == "west").all()


def test_what_costs_nothing_to_give_is_given_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first column is drawn first, so no row is made in vain; a frequent value of a later one is waited for."""
    asked: list[bool] = []

    def noted(family: Any, n: int, labels: Any, seed: int, options: Any, given: Any, first: int) -> Any:
        asked.append(given is not None)
        return generate(family, n, labels, seed, options, given, first=first)

    monkeypatch.setattr("genloom.run.rows.generate", noted)
    assert (run.sample(200, where="sex=Female")["sex"] == "Female").all() and asked == [True]
    asked.clear()
    assert (run.sample(200, where="place=north")["place"] == "north").all() and asked == [False]


def test_few_rows_are_made_for_few_and_more_change_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noted(family: Any, n: int, labels: Any, seed: int, options: Any, given: Any, first: int) -> Any:
        sizes.append(n)
        return generate(family, n, labels, seed, options, given, first=first)

    monkeypatch.setattr("genloom.run.rows.generate", noted)
    few = run.sample(10, where="pay>=30")
    assert sizes == [1024]
    sizes.clear()
    many = run.sample(2000, where="pay>=30")
    assert sizes == [1024, 1024, 2048, 4096, 8192][: len(sizes)] and len(sizes) > 2
    pd.testing.assert_frame_equal(few, many.head(10))


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("sex=Femle", "no level of sex 'Femle'; did you mean 'Female'"), ("sexx=Male", "did you mean 'sex'"),
        ("pay>900", "no row can have pay>900: in the data it goes from"), ("start=later", "start is a number"),
        ("day>soon", "day is a date"), ("sex>Male", "ask for it by = or !="), ("sex", "is no condition"),
        ("id=3", "id is not learnt"), ("start<1990,start>2010", "too few to go on"),
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_met(run: Run, where: str, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genloom.run.rows.MOST_TRIES", 16_384)
    with pytest.raises(InputError, match=match):
        run.sample(5, where=where)


def test_holes_are_filled_given_the_rest(run: Run, tmp_path: Path) -> None:
    holes = pd.DataFrame({"sex": ["Female", "Male"] * 200, "place": ["north"] * 400, "pay": [None, 35.0] * 200})
    made = run.fill(holes)
    assert made["sex"].tolist() == holes["sex"].tolist() and (made["pay"][1::2] == 35.0).all()
    assert made["pay"][::2].mean() > 37 and made.dtypes.equals(people().dtypes)
    path = tmp_path / "h.csv"
    path.write_text("pay,place\n44.0,\n44.0,\n,weast\n")
    with pytest.raises(InputError, match=r"level of place \(row 3\) 'weast'; did you mean 'west'"):
        run.fill(path)
    path.write_text("pay,place\n" + "44.0,\n" * 200)
    assert (run.fill(path)["sex"] == "Female").mean() > 0.9  # only they are paid so


def test_files_are_whole_marked_and_made_again(run: Run, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    from genloom.cli.rows import write

    for ending in (".csv", ".parquet", ".xlsx"):
        write(run, 40_000 if ending != ".xlsx" else 50, tmp_path / f"s{ending}", None, None, {"seed": 3, "options": {}},
              True, False)  # fmt: skip
    table = parquet.read_table(tmp_path / "s.parquet")
    assert json.loads(table.schema.metadata[b"genloom"])["generator"] == "genloom"
    made = table.to_pandas()
    assert len(made) == 40_000 and made["id"].is_unique and (made["start"] < made["end"]).all()
    read = pd.read_csv(tmp_path / "s.csv", parse_dates=["day"])
    pd.testing.assert_frame_equal(read, made, check_dtype=False)
    assert len(pd.read_excel(tmp_path / "s.xlsx")) == 50
    again = reproduce(tmp_path / "s.csv", run.path)
    assert again.same and again.intact
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(InputError, match="cannot be written: tables are"):
        from genloom.data.written import TableFile

        TableFile(tmp_path / "s.json")


def test_other_rows_are_told_by_the_columns_of_the_run(run: Run) -> None:
    other = people().assign(place=np.where(np.arange(N) < 5, "moon", "north"))
    prepared = run.data(other)
    assert prepared.modality.spec == run.modality.spec
    assert any("5 rows of 1,500 left out" in n and "place" in n for n in prepared.notices)


def test_rows_are_judged_and_copies_are_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run.evaluate(people(), n=300)
    figures = {f.name: f for f in found.figures}
    assert figures["shapes"].value is not None and figures["shapes"].value > 0.9
    told, trees = figures["told_apart"], figures["trees"]
    assert told.value is not None and told.floor is not None and told.value < told.floor
    assert trees.value is not None and trees.floor is not None and trees.ceiling is not None
    assert trees.value > (trees.floor + trees.ceiling) / 2
    assert 0.5 < (figures["constraints"].value or 0) < 1 and figures["constraints"].ceiling == 1
    assert found.copying is not None and found.copying["verdict"] == "none"
    assert found.table is not None and {c["name"] for c in found.table["columns"]} == set(people().columns) - {"id"}
    page = run.folder.report.read_text("utf-8")
    assert "Differences of correlations" in page and "Outcomes of groups" in page
    copied = run.data(people()).train.batch(np.arange(300)).x
    monkeypatch.setattr(run, "sample_tensor", lambda n, **_: (copied, None))
    from genloom.evaluate.figures import evaluate_samples

    copies = evaluate_samples(run, run.data(people()), n=300)
    assert copies.copying is not None and copies.copying["verdict"] == "copying"
    assert copies["copies"].value == 1 and copies["copies"].ceiling == 0
    assert copies["membership"].value is not None and copies["membership"].value > 0.55
