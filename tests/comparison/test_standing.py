"""Who is best, who cannot be told from the best, and what is said of it in words."""

from __future__ import annotations

import pytest

from genloom.comparison.document import figure_lines, pareto
from genloom.comparison.members import costs
from genloom.comparison.standing import Value, lead_of, lines, standing
from genloom.comparison.words import verdict
from judged import evaluation, figure, member


def test_overlapping_intervals_are_not_told_apart() -> None:
    values = {
        "a": Value(5.0, (4.5, 5.5)),
        "b": Value(5.8, (5.4, 6.2)),
        "c": Value(5.6, (5.51, 5.7)),
        "d": Value(None),
    }
    assert standing(values, "lower") == ("a", ("b",))
    assert standing(values, "higher") == ("b", ("a", "c"))


def test_nearest_to_real_data_is_best_where_neither_end_is() -> None:
    values = {
        "below": Value(0.2, (0.19, 0.21), ceiling=0.5),
        "near": Value(0.55, (0.52, 0.58), ceiling=0.5),
        "across": Value(0.6, (0.4, 0.8), ceiling=0.5),
        "unknown": Value(0.5, (0.4, 0.6), ceiling=None),
    }
    assert standing(values, "reference") == ("near", ("across",))


def test_nobody_is_best_where_nobody_has_the_figure() -> None:
    assert standing({"a": Value(None), "b": Value(None)}, "lower") == (None, ())


def test_seeds_give_the_median_its_spread_and_an_interval_over_all() -> None:
    runs = [evaluation(figure("frechet", v, v - 1, v + 2)) for v in (5.0, 9.0, 6.0)]
    (line,) = lines({"vae": runs})
    value = line.values["vae"]
    assert (value.value, value.interval, value.spread) == (6.0, (4.0, 11.0), (5.0, 9.0))


def test_a_figure_that_a_model_lacks_is_none_with_the_reason() -> None:
    known = lines(
        {
            "ar": [evaluation(figure("nats_per_character", 1.5, 1.4, 1.6))],
            "gan": [evaluation(figure("kernel", None, note="30 examples are too few"))],
        }
    )
    nats, kernel = ({line.name: line for line in known}[n] for n in ("nats_per_character", "kernel"))
    assert nats.values["gan"].value is None and "how likely" in nats.values["gan"].note
    assert kernel.values["gan"].note == "30 examples are too few"
    assert (nats.best, nats.tied, kernel.best) == ("ar", (), None)


def test_the_lead_is_a_figure_that_most_have() -> None:
    one = evaluation(figure("frechet", 5, 4, 6), figure("kernel", 1, 0, 2))
    two = evaluation(figure("frechet", None), figure("kernel", 2, 1, 3))
    lead = lead_of(lines({"a": [one], "b": [two]}))
    assert lead is not None and lead.name == "kernel"


@pytest.fixture
def members() -> list:  # type: ignore[type-arg]
    fast = {"per_second": 9000.0, "per_second_per_core": 4500.0}
    slow = {"per_second": 20.0, "per_second_per_core": 10.0}
    return [
        member("gan", evaluation(figure("frechet", 5.0, 4.8, 5.3), parameters=2_500_000, **slow)),
        member("flow", evaluation(figure("frechet", 5.2, 5.1, 5.4), parameters=900, **slow)),
        member("vae", evaluation(figure("frechet", 30.0, 28, 32), parameters=1000, verdict="some", **fast)),
        member("fsq", None, error="its process was ended by SIGKILL"),
    ]


def test_the_verdict_says_it_all(members) -> None:  # type: ignore[no-untyped-def]
    lead = lead_of(figure_lines(members))
    assert verdict("mnist", lead, members) == (
        "mnist: gan is best by Frechet distance (5.000, 4.800 to 5.300; real data 4.900, no skill 89), flow cannot be "
        "told from it; vae is fastest (4,500 samples a second and core); flow is smallest (900 parameters); vae-seed0 "
        "copies some training data; gan-seed0 and flow-seed0 do not copy. fsq-seed0 failed: its process was ended by "
        "SIGKILL."
    )


def test_a_winner_that_is_no_better_than_the_baseline_is_not_praised() -> None:
    poor = [member(label, evaluation(figure("frechet", v, 85, 95))) for label, v in (("a", 90.0), ("b", 91.0))]
    assert "but no better than no skill" in verdict("digits", lead_of(figure_lines(poor)), poor)


def test_the_fronts_are_of_quality_against_speed_and_size(members) -> None:  # type: ignore[no-untyped-def]
    fronts = {p["x"]: p["front"] for p in pareto(lead_of(figure_lines(members)), costs(members))}
    assert fronts == {"samples_per_second": ["vae", "gan"], "parameters": ["flow", "gan"]}
