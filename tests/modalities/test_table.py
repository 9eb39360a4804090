"""Tables: kinds that are found, values that come back as they were, rows that no model is asked about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
from genloom.core.errors import InputError  # noqa: E402
from genloom.data.cells import kind_of  # noqa: E402
from genloom.data.frames import Reading  # noqa: E402
from genloom.data.written import harmless  # noqa: E402
from genloom.modalities.table import Table, TableConfig  # noqa: E402

N = 400
DRAW = np.random.default_rng(0)


def frame() -> object:
    """A column of each type that pandas has, with gaps."""
    number = DRAW.lognormal(size=N)
    return pd.DataFrame(
        {
            "whole": DRAW.integers(-5, 500, size=N),
            "price": np.round(number, 2),
            "gaps": np.where(DRAW.random(N) < 0.2, np.nan, np.round(number, 1)),
            "short": pd.array(np.where(DRAW.random(N) < 0.1, None, DRAW.integers(0, 90, size=N)), dtype="Int16"),
            "small": number.astype(np.float32),
            "spiked": np.where(DRAW.random(N) < 0.6, 0, DRAW.integers(1, 10**6, size=N)),
            "yes": DRAW.random(N) < 0.3,
            "city": pd.Series(DRAW.choice(["Köln", "北京", None], size=N), dtype="str"),
            "grade": pd.Categorical(DRAW.choice(["low", "mid"], size=N), ["low", "mid", "high"], ordered=True),
            "when": pd.Timestamp("2024-01-01", tz="Europe/Berlin") + pd.to_timedelta(DRAW.integers(0, 700, N), "D"),
            "day": pd.Series(pd.to_datetime("2020-02-28") + pd.to_timedelta(DRAW.integers(0, 99, N), "D")).dt.strftime(
                "%d.%m.%Y"
            ),
            "mixed": pd.Series([1, "two", 3.5, None] * (N // 4), dtype=object),
        }
    )


def fitted(table: object, typed: bool = True, **settings: object) -> Table:
    return Table.fit_frame(TableConfig(**settings), Reading(table, typed, "t"))


def back(table: object, typed: bool = True, **settings: object) -> object:
    import torch

    modality = fitted(table, typed, **settings)
    twin = Table.from_state(json.loads(json.dumps(modality.state())))
    return twin.decode_all(torch.from_numpy(twin.encode_frame(table)))


def test_a_dataframe_comes_back_with_its_types_and_values() -> None:
    real = frame()
    made = back(real)
    assert list(made.columns) == list(real.columns)
    assert made.dtypes.to_dict() == real.dtypes.to_dict()
    for name in real.columns:
        close = {"small": 2e-3, "spiked": 1e-3}.get(name, 0)
        if close:
            np.testing.assert_allclose(made[name], real[name], rtol=close, atol=1)
        else:
            pd.testing.assert_series_equal(made[name], real[name], check_freq=False)


def test_cells_of_text_come_back_as_they_were_written() -> None:
    cells = pd.DataFrame(
        {
            "a": ["1", "2", "3", "NA"] * 50, "b": ["1.50", "2.25", "0.75", "9.00"] * 50,
            "c": ["31.12.2024", "01.01.2025", "15.06.2024", ""] * 50, "d": ["x", "", "y", "x"] * 50,
            "e": ["007", "012", "900", "012"] * 50, "f": ["5", "unknown", *(str(i % 90) for i in range(198))],
        },
        dtype="str",
    )  # fmt: skip
    modality = fitted(cells, typed=False, dependent=False)
    made = back(cells, typed=False, dependent=False)
    assert str(made["a"].dtype) == "Int64" and str(made["b"].dtype) == "float64" and made["d"].isna().sum() == 50
    pd.testing.assert_frame_equal(modality.as_text(made).astype("str"), cells)
    assert kind_of(cells["e"], False) == "category"  # a code, not a number
    assert any("unknown" in n and "row 2" in n for n in modality.notices)


def test_kinds_that_are_found() -> None:
    n = np.arange(100)
    table = pd.DataFrame(
        {
            "customer_id": n + 1000, "uuid": [f"{derived:08x}" for derived in DRAW.permutation(2**20)[:100] * 4001],
            "age": DRAW.integers(18, 90, size=100), "flag": n % 2,
            "note": [f"A long remark of customer {i}, said at once" for i in n],
            "date": [f"2024-01-{1 + i % 28:02d}" for i in n], "word": DRAW.choice(["a", "b", "c"], size=100),
        }
    )  # fmt: skip
    found = {c: kind_of(table[c], True) for c in table.columns}
    assert found == {
        "customer_id": "identifier", "uuid": "identifier", "age": "number", "flag": "category", "note": "text",
        "date": "date", "word": "category",
    }  # fmt: skip
    modality = fitted(table)
    made = modality.decode_all(__import__("torch").zeros(300, modality.spec.width))
    assert made["customer_id"].tolist() == list(range(1100, 1400))
    assert made["uuid"].nunique() == 300 and made["uuid"].str.fullmatch("[0-9a-f]{8}").all()
    assert made["note"].isna().all()
    assert any("free text" in n for n in modality.notices) and any("identifiers" in n for n in modality.notices)
    assert kind_of(table["age"], True) == "number" and fitted(table, kinds={"age": "category"}).codecs


def test_columns_that_follow_from_another_always_do() -> None:
    town = DRAW.integers(0, 5, size=N)
    table = pd.DataFrame({"town": np.array(list("ABCDE"))[town], "code": town * 10, "x": DRAW.normal(size=N)})
    modality = fitted(table)
    assert [span.name for span in modality.spec.spans] == ["town + code", "x"]
    cells = table[["town", "code"]].astype("str")
    assert (
        fitted(cells, typed=False).spec.width == 1 and back(cells, typed=False)["code"].tolist() == (town * 10).tolist()
    )
    assert any("code always follows from town" in n for n in modality.notices)
    assert len(fitted(table, dependent=False).spec.spans) == 3
    free = fitted(table.assign(code=DRAW.integers(0, 5, size=N)), constraints=["fixed(town, code)"])
    assert [span.name for span in free.spec.spans] == ["town + code", "x"]


def test_dates_in_two_formats_are_told_with_their_rows() -> None:
    days = [f"{1 + i % 28:02d}.03.2024" for i in range(96)]
    table = pd.DataFrame({"d": [*days, "2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"]}, dtype="str")
    modality = fitted(table, typed=False)
    assert any("%Y-%m-%d" in n and "row 97" in n for n in modality.notices), modality.notices
    made = modality.as_text(back(table, typed=False))
    assert made["d"].iloc[96] == "01.03.2024" and made["d"].iloc[0] == "01.03.2024"


def test_constant_and_missing_columns_are_told_and_kept() -> None:
    table = pd.DataFrame({"one": ["a"] * 50, "gone": [None] * 50, "x": range(50)}, dtype=object)
    modality = fitted(table)
    assert any("one has one value everywhere" in n for n in modality.notices)
    assert any("gone is missing everywhere" in n for n in modality.notices)
    made = back(table)
    assert (made["one"] == "a").all() and made["gone"].isna().all()


def test_nothing_to_learn_and_names_that_are_not_there() -> None:
    ids = pd.DataFrame({"id": range(50)})
    with pytest.raises(InputError, match="nothing to learn"):
        fitted(ids)
    table = frame()
    with pytest.raises(InputError, match="did you mean 'price'"):
        fitted(table, target="prise")
    with pytest.raises(InputError, match="no column 'grad'; did you mean 'grade'"):
        fitted(table, kinds={"grad": "number"})
    with pytest.raises(InputError, match="is no constraint"):
        fitted(table, constraints=["whole is small"])


def test_formulas_are_neutralised_for_spreadsheets() -> None:
    cells = pd.DataFrame({"x": ["=cmd|'/c calc'!A0", "-5", "+3.5", "@SUM(A1)", "-", "a=b", "-2+3"]})
    assert harmless(cells)["x"].tolist() == ["'=cmd|'/c calc'!A0", "-5", "+3.5", "'@SUM(A1)", "-", "a=b", "'-2+3"]
    typed = pd.DataFrame({"c": pd.Categorical(["=a", "b", "=a"]), "o": [1, "+x", None], "n": [-1, 2, 3]})
    mended = harmless(typed)
    assert mended["c"].tolist() == ["'=a", "b", "'=a"] and mended["o"].tolist() == [1, "'+x", None]
    assert mended["n"].dtype == typed["n"].dtype


def test_sheets_grow_and_hold_what_sheets_lack_as_text(tmp_path: Path) -> None:
    from genloom.data.written import TableFile

    piece = pd.DataFrame(
        {
            "=n": [1.5, np.inf, np.nan], "s": ["=cmd", "bell\x07", "two\nlines"],
            "day": pd.to_datetime(["2024-01-31"] * 3),
            "when": pd.to_datetime(["2024-01-31 08:00"] * 3).tz_localize("Europe/Berlin"), "yes": [True, False, True],
        }
    )  # fmt: skip
    with TableFile(tmp_path / "t.xlsx") as file:
        file.add(piece)
        file.add(piece.head(1))
    found = pd.read_excel(tmp_path / "t.xlsx")
    assert list(found.columns) == ["'=n", "s", "day", "when", "yes"] and len(found) == 4
    assert (
        found["s"].tolist() == ["'=cmd", "bell", "two\nlines", "'=cmd"]
        and found["when"][0] == "2024-01-31 08:00:00+0100"
    )
    assert found["day"][3] == piece["day"][0] and found["'=n"][0] == 1.5 and found["yes"].tolist() == [1, 0, 1, 1]


def test_a_wide_category_is_one_entry() -> None:
    import torch

    names = pd.DataFrame({"name": [f"n{i % 20_000}" for i in range(60_000)], "x": DRAW.normal(size=60_000)})
    modality = fitted(names)
    assert modality.spec.spans[0].levels == 20_000 and modality.spec.width == 2
    made = modality.decode_all(torch.from_numpy(modality.encode_frame(names)))
    pd.testing.assert_series_equal(made["name"], names["name"])
