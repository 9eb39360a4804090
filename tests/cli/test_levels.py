"""Levels from the command line: trained, sampled until playable, repaired, filled in, judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import genloom
from genloom.cli import app
from genloom.core.errors import GenloomError, InputError
from genloom.evaluate.own import Decoded, OwnSides, own_figures
from genloom.modalities.level import Level
from genloom.run import keeping

TINY = {
    "family.width": 16, "family.depth": 1, "family.heads": 2, "family.context": 64, "family.ngram_rows": 64,
    "family.infill": 0.5,
    "train.batch": 8, "train.grids": 0, "train.warmup": 2, "train.validate_times": 0, "train.precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> genloom.Run:
    out = tmp_path_factory.mktemp("levels") / "ruins"
    return genloom.train("ruins", steps=8, out=out, settings=TINY)


def invoke(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_every_sample_decodes_and_repair_makes_all_playable(run: genloom.Run, tmp_path: Path) -> None:
    found = invoke("sample", str(run.path), "-n", "3", "-o", str(tmp_path), "--only", "playable", "--repair")
    assert isinstance(found["files"], list) and len(found["files"]) == 3 * 3 + 2
    assert isinstance(run.modality, Level)
    for path in sorted(tmp_path.glob("*.txt")):
        level = Level.read(path.read_bytes(), run.modality.config)
        assert level.count("\n") == 10 and len(level.split("\n")[0]) == 24
        assert run.modality.shows_trait("playable", level)
    verified = invoke("verify", str(tmp_path / "000000.tmx"))
    assert json.dumps(verified).count("ruins")


def test_samples_can_be_made_again(run: genloom.Run, tmp_path: Path) -> None:
    paths = run.write_samples(2, tmp_path, only="playable", repair=True)
    assert [p.suffix for p in paths[:2]] == [".txt", ".txt"]
    for name in ("000001.txt", "000001.png", "000001.tmx"):
        assert invoke("reproduce", str(tmp_path / name), "--run", str(run.path))["same"] is True


def test_a_gap_is_filled_and_what_was_given_stays(run: genloom.Run) -> None:
    whole = run.sample(1, seed=3)[0].split("\n")
    before, after = "\n".join(r[:10] for r in whole), "\n".join(r[15:] for r in whole)
    for level in run.sample(2, prompt=before, suffix=after):
        rows = level.split("\n")
        assert {len(r) for r in rows} == {24}
        assert [r[:10] for r in rows] == before.split("\n") and [r[15:] for r in rows] == after.split("\n")


def test_wrong_wishes_are_one_sentence(run: genloom.Run) -> None:
    for match, asked in (
        ("did you mean 'playable'", {"only": "playble"}),
        ("--only playable --repair", {"repair": True}),
        ("all of its 11 rows", {"prompt": "##"}),
    ):
        with pytest.raises(InputError, match=match):
            run.sample(1, **asked)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no text to print"):
        next(run.stream())


def test_rejecting_keeps_what_is_playable_in_its_place(run: genloom.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def ground(self: Level, name: str, example: str) -> bool:
        return example.split("\n")[-1][0] != self.tiles[0]

    monkeypatch.setattr(Level, "shows_trait", ground)
    plain, kept = run.sample(6, seed=1), run.sample(6, seed=1, only="playable")
    assert all(ground(run.modality, "", e) for e in kept)  # type: ignore[arg-type]
    assert all(a == b for a, b in zip(plain, kept, strict=True) if ground(run.modality, "", a))  # type: ignore[arg-type]
    monkeypatch.setattr(Level, "shows_trait", lambda *_: False)
    monkeypatch.setattr(keeping, "TRIES", 2)
    with pytest.raises(GenloomError, match="6 of 6 samples are not playable"):
        run.sample(6, only="playable")


def of_list(examples: list[str]) -> Decoded:
    return Decoded(len(examples), examples.__getitem__)


def test_figures_of_levels_stand_beside_real_ones(run: genloom.Run) -> None:
    data, made = run.data(), run.sample(4)
    train, held = (
        [run.modality.decode(x) for x in s.batch(np.arange(len(s))).x] for s in (data.train, data.validation)
    )
    noise = ["\n".join("".join(r) for r in np.random.default_rng(i).choice(["#", "-"], (11, 24))) for i in range(4)]
    sides = {"samples": made, "ceiling": train[:20], "floor": noise, "held": held, "reference": held, "training": train}
    found = {f.name: f for f in own_figures(run.modality, OwnSides(**{k: of_list(v) for k, v in sides.items()}))}
    assert list(found)[:3] == ["playable", "pattern_distance_2", "pattern_distance_3"]
    for name in (*found, "novelty", "longest_copied", "copied"):
        figure = found[name]
        assert figure.value is not None and figure.ceiling is not None and figure.floor is not None
    assert found["playable"].ceiling == 1.0
    assert found["pattern_distance_2"].ceiling < found["pattern_distance_2"].floor  # type: ignore[operator]


def test_a_family_of_grids_takes_the_grid(tmp_path: Path) -> None:
    small = {"train.batch": 16, "train.grids": 0}
    run = genloom.train("ruins", model="vae", steps=2, out=tmp_path / "vae", settings=small)
    assert all(len(e.split("\n")) == 11 for e in run.sample(2))
