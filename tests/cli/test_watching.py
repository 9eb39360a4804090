"""What a person sees while models are compared."""

from __future__ import annotations

import io

from rich.console import Console

from genloom.cli.watching import LiveTable, PlainRows
from genloom.comparison.watching import Board, Row, State, last_record

TRAINING = Row("vae-seed0", State.TRAINING, 1200, 0.25, 10.0, {"vae": 0.5})
FAILED = Row("gan-seed0", State.FAILED, error="there is no setting [x]")


def test_plain_lines_come_when_a_training_changes_its_state() -> None:
    stream = io.StringIO()
    lines = PlainRows(stream)
    lines.show([TRAINING, Row("gan-seed0")])
    lines.show([TRAINING, Row("gan-seed0")])
    lines.show([Row("vae-seed0", State.TRAINED, 4800, 1.0, 40.0, {"vae": 0.25}), FAILED])
    assert stream.getvalue().splitlines() == [
        "vae-seed0: training  step 1,200  25%  loss: vae 0.5  30s left",
        "vae-seed0: trained  step 4,800  100%  loss: vae 0.25",
        "gan-seed0: failed: there is no setting [x]",
    ]


def test_the_live_table_has_a_row_for_each_training() -> None:
    stream = io.StringIO()
    table = LiveTable(Console(file=stream, force_terminal=True, width=100, color_system=None))
    table.show([TRAINING, FAILED, Row("flow-seed0")])
    table.close()
    rows = stream.getvalue().replace("\r", "\n").splitlines()
    (vae,) = {line.rstrip() for line in rows if "vae-seed0" in line}
    assert [w for w in vae.split() if w[0] not in "v━╸╺" or w == "vae"] == ["training", "1,200", "vae", "0.5", "30s"]
    assert any("failed" in line and "there is no setting [x]" in line for line in rows)
    assert any("flow-seed0" in line and "waiting" in line for line in rows)


def test_a_row_follows_the_history_of_its_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    seen: list[tuple[Row, ...]] = []

    class Watcher:
        def show(self, rows) -> None:  # type: ignore[no-untyped-def]
            seen.append(rows)

        def notice(self, text: str) -> None: ...

    (tmp_path / "history.jsonl").write_text(
        '{"step": 1, "fraction": 0.1, "seconds": 2, "losses": {"vae": 3}}\n{"step": 2, "frac'
    )
    assert last_record(tmp_path / "history.jsonl")["step"] == 1
    assert last_record(tmp_path / "none.jsonl") == {}
    Board(["vae"], Watcher()).set("vae", State.TRAINING, tmp_path)
    assert seen[-1] == (Row("vae", State.TRAINING, 1, 0.1, 2.0, {"vae": 3}),)
