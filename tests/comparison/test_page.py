"""The page of models of text, from given figures: what one lacks, hostile names and texts, no script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from genloom.comparison.document import document_of
from genloom.comparison.page import render, write_page
from judged import evaluation, figure, member


def test_a_page_of_text_says_what_a_model_lacks_and_escapes_everything(tmp_path: Path) -> None:
    nats = [figure("nats_per_character_64", v, v - 0.1, v + 0.1) for v in (1.5, 1.9)]
    rest = [figure("bleu_4", 0.3, 0.2, 0.4), figure("self_bleu", 0.4, 0.3, 0.5)]
    fast = {"per_second": 10.0, "per_second_per_core": 10.0}
    members = [
        member("lstm", evaluation(nats[0], *rest, **fast)),
        member("<b>模型", evaluation(nats[1], *rest, **fast)),
        member("gan", evaluation(*rest, **fast)),
    ]
    members = [replace(m, folder=tmp_path / str(i)) for i, m in enumerate(members)]
    (tmp_path / "0" / "samples").mkdir(parents=True)
    (tmp_path / "0" / "samples" / "final.txt").write_text("床前明月光 <script>alert(1)</script>", "utf-8")
    found = document_of(tmp_path, "诗", members, {"steps": 5.0})
    assert found["lead"] == "bleu_4"  # the likelihood is not everybody's
    nats_line = found["figures"][0]
    assert (nats_line["name"], nats_line["best"], nats_line["tied"]) == ("nats_per_character_64", "lstm", [])
    html = render(tmp_path, found, members)
    assert write_page(tmp_path, found, members).read_text("utf-8") == html
    assert "床前明月光 &lt;script&gt;" in html and "<script" not in html and "<b>模" not in html
    assert "the model does not tell how likely data is" in html
    assert html.count('class="chart plane"') == 3
