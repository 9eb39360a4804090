"""Figures of music against values by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from genloom.data.voices import from_rows
from genloom.metrics import music
from genloom.modalities.music import Music, MusicConfig
from scores import chorale

C_MAJOR = from_rows(np.array([[60, 48]] * 4 + [[64, 48]] * 4 + [[67, 55]] * 8 + [[60, 48]] * 16))


def test_intervals_and_durations_by_hand() -> None:
    notes = C_MAJOR.notes
    assert Counter(music.melodic_intervals(notes)) == {4: 1, 3: 1, -7: 2, 7: 1}
    assert sorted(music.durations(notes)) == [4, 4, 8, 8, 8, 16, 16]
    # Each sixteenth has one interval: 4 octaves, 4 major thirds, 8 octaves, 16 octaves.
    assert Counter(music.harmonic_intervals(notes)) == {0: 28, 4: 4}
    assert music.polyphony(notes) == 2.0


def test_key_scale_groove_and_structure() -> None:
    assert music.key_name(C_MAJOR.notes) == "C major" and music.scale_consistency(C_MAJOR.notes) == 1.0
    up = C_MAJOR.notes + np.array([0, 0, 3, 0, 0], np.int32)
    assert music.key_name(up) == "Eb major"
    chromatic = from_rows(np.arange(60, 72)[:, None])
    assert music.scale_consistency(chromatic.notes) == pytest.approx(7 / 12)
    twice = from_rows(np.array([[60], [62], [64], [65]] * 4 + [[67], [69], [71], [72]] * 4))
    assert music.groove(twice.notes) == 1.0 and music.structure(twice.notes) == 0.5


def test_total_variation_is_half_the_sum_of_differences() -> None:
    assert music.total_variation(Counter("aab"), Counter("abb")) == pytest.approx(1 / 3)
    assert music.total_variation(Counter("a"), Counter("b")) == 1.0
    assert np.isnan(music.total_variation(Counter(), Counter("b")))


def test_real_music_is_nearer_to_real_music_than_noise() -> None:
    pieces = [from_rows(np.array(chorale(i, 3))) for i in range(24)]
    noise = [from_rows(np.random.default_rng(i).integers(40, 80, (48, 4))) for i in range(12)]
    figures = Music.fit(MusicConfig(), pieces).figures()
    for name in ("pitch_class_distance", "interval_distance", "harmonic_distance", "duration_distance"):
        near, far = (float(figures[name].measure(side, pieces[12:])) for side in (pieces[:12], noise))
        assert 0 <= near < far <= 1, name
    assert np.mean(figures["scale_consistency"].measure(pieces, pieces)) > 0.9
