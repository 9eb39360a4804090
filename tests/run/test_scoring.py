"""Scores of variants: read from FASTA and tables, equal to the model's own likelihood, told with their agreement."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

import genloom
from genloom.cli import app
from genloom.core.errors import InputError
from genloom.data.variants import Variant, mutated, read_variants
from genloom.metrics.ranks import spearman
from genloom.modalities.protein import Protein
from genloom.run.scoring import scored

pytest.importorskip("Bio")

TINY = {
    "family.cell": "lstm", "family.width": 16, "family.hidden": 24, "family.context": 64, "family.ngrams": 2,
    "family.ngram_rows": 64, "family.infill": 0.5, "train.batch": 8, "train.grids": 0, "train.warmup": 2,
    "train.validate_times": 0, "train.precision": "fp32",
}  # fmt: skip
WILD = "MKVLAGHTEC"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> genloom.Run:
    out = tmp_path_factory.mktemp("proteins") / "toy"
    return genloom.train("toy-proteins", steps=6, out=out, settings=TINY)


def test_every_sample_decodes_with_family_and_length_asked_for(run: genloom.Run, tmp_path: Path) -> None:
    made = run.sample(40, label=["alpha", "gamma"], properties={"length": [60, 90]}, options={"temperature": 3.0})
    assert all(e and set(e) <= set("ACDEFGHIKLMNPQRSTVWY") for e in made)
    for e in made:
        assert Protein.read(f">x\n{e}\n" if len(e) >= 5 else f">x\n{e}AAAAA\n", run.modality.config)
    paths = run.write_samples(2, tmp_path, label="beta")
    done = CliRunner().invoke(app, ["verify", str(paths[0]), "--json"])
    assert "toy" in done.stdout and paths[0].read_text().startswith(">000000-beta length=")


def test_a_region_is_filled_in(run: genloom.Run) -> None:
    before, after = "MKVLAGHTECDE", "WYFPKRSTLV"
    for made in run.sample(3, prompt=before, suffix=after):
        assert made.startswith(before) and made.endswith(after) and len(made) > len(before + after)


def test_scores_are_the_likelihood_of_the_model(run: genloom.Run) -> None:
    names = ["A5V", "G6W", "H7A", "T8Y"]
    variants = [Variant(n, mutated(WILD, n, "here"), float(i)) for i, n in enumerate(names)]
    found = scored(run, [*variants, Variant("bad", "MK1")], WILD, "alpha")
    assert found.refused[0][0] == "bad" and not found.consensus and found.wild is not None
    for v, nats in zip(found.variants, found.nats, strict=True):
        assert nats == pytest.approx(-float(run.surprise(v.raw, label="alpha").sum()), abs=1e-4)
    assert found.differences == pytest.approx(found.nats + run.surprise(WILD, label="alpha").sum(), abs=1e-4)
    assert scored(run, variants, None).wild[0] == WILD and scored(run, variants, None).consensus  # type: ignore[index]


def test_spearman_is_that_of_scipy_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200).round(1)
    y = x + rng.normal(size=200).round(1)
    r, interval = spearman(x, y)
    assert r == pytest.approx(spearmanr(x, y).statistic) and interval is not None and interval[0] < r < interval[1]
    inside = 0
    for _ in range(200):
        a = rng.normal(size=50)
        _, found = spearman(a, a + rng.normal(size=50))
        inside += found is not None and found[0] < 6 / math.pi * math.asin(math.sqrt(0.5) / 2) < found[1]
    assert inside >= 180  # of 190 expected
    assert math.isnan(spearman(np.ones(5), np.arange(5.0))[0])


def test_variants_are_read_from_fasta_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(
        ">0|TEM_A5V|0.25\nMKVLVGHTEC\n>1|TEM_G6W|-1e-1\nMKVLAWHTEC\n>plain title\nMKVLA\n"
    )
    found = read_variants(tmp_path / "a.fasta", None)
    assert [v.name for v in found] == ["TEM_A5V", "TEM_G6W", "plain"]
    assert [v.measured for v in found[:2]] == [0.25, -0.1] and math.isnan(found[2].measured)
    (tmp_path / "b.csv").write_text("mutant,DMS_score,other\nA5V,1.5,3\nA5V:G6W,,4\n")
    found = read_variants(tmp_path / "b.csv", WILD)
    assert [v.raw for v in found] == ["MKVLVGHTEC", "MKVLVWHTEC"] and found[0].measured == 1.5
    assert read_variants(tmp_path / "b.csv", WILD, "other")[1].measured == 4
    for text, match, wild in (
        ("mutant,x\nA5V,1\n", "--wild-type", None),
        ("mutant,x\nG5V,1\n", "row 1 .* G5V does not fit the wild type: 'A' stands there", WILD),
        ("mutant,x\nA50V,1\n", "it has 10 places", WILD),
        ("mutant,x\nA to V,1\n", "'A' is no mutation", WILD),
        ("a,b\n1,2\n", "neither a column of sequences", None),
        ("", "neither a column", None),
    ):
        (tmp_path / "c.csv").write_text(text)
        with pytest.raises(InputError, match=match):
            read_variants(tmp_path / "c.csv", wild)
    with pytest.raises(InputError, match="no column nope; it has mutant"):
        read_variants(tmp_path / "b.csv", WILD, "nope")


def test_the_command_ranks_and_tells_the_agreement(run: genloom.Run, tmp_path: Path) -> None:
    rows = [f">{i}|x_{WILD[i]}{i + 1}W|{i}\n{WILD[:i]}W{WILD[i + 1 :]}\n" for i in range(10)]
    (tmp_path / "v.fasta").write_text("".join(rows) + ">dna\n" + "ACGT" * 8 + "\n")
    invoke = CliRunner().invoke
    asked = ["score", str(run.path), str(tmp_path / "v.fasta"), "-o", str(tmp_path / "s.csv")]
    done = invoke(app, [*asked, "--wild-type", WILD, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["scored"] == 10 and found["refused"] == 1 and found["measured"] == 10
    expected = spearmanr([v["difference"] for v in found["variants"]], range(10)).statistic
    assert found["spearman"] == pytest.approx(expected)
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 11
    shown = invoke(app, asked)
    assert "Spearman's correlation with 10 measured values" in shown.output and "consensus" in shown.output
    missing = invoke(app, ["score", str(run.path), str(tmp_path / "none.fasta")])
    assert missing.exit_code == 2 or isinstance(missing.exception, InputError)
