"""The model card of a run: README.md with the metadata that model hubs read, made from the files of the run folder."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError
from genloom.core.files import write_atomic
from genloom.core.run import CONFIG, MANIFEST, RunFolder
from genloom.evaluate.evaluation import Evaluation, Figure
from genloom.evaluate.pictures import legible
from genloom.evaluate.report import optional, read_evaluation
from genloom.evaluate.story import copying_facts, copying_of, cost_facts, mapping, percent
from genloom.evaluate.units import duration, integer, number

TASKS = {"image": "unconditional-image-generation", "text": "text-generation"}


def write_card(folder: Path) -> Path:
    """Write README.md into a run folder from what is there; before an evaluation it says that nothing was tested.
    Returns its path.

    Raises InputError when the folder holds no run or its config.json is damaged, GenloomError when it cannot be
    written.
    """
    run = RunFolder.open(folder)
    write_atomic(run.card, card(run).encode("utf-8", "replace"))
    return run.card


def card(run: RunFolder) -> str:
    """The model card of a run folder as Markdown."""
    config, manifest = run.read_json(CONFIG), optional(run.path / MANIFEST)
    evaluation, problem = read_evaluation(run.evaluation)
    data = mapping(manifest.get("data"))
    name = run.path.resolve().name
    known = _catalogued(str(mapping(config.get("data")).get("path") or ""))
    parts = [
        _metadata(name, config, data, known, evaluation),
        f"# {plain(name)}",
        _about(config, manifest, data),
        "## Data",
        _data(data, known),
        "## How to use",
        _usage(name, config),
        "## Figures",
        _figures(evaluation, problem),
        "## Copying",
        _copying(evaluation, manifest),
        *_privacy(manifest),
        "## Groups",
        _groups(evaluation),
        "## Cost",
        _list(cost_facts(evaluation, manifest, config)) or "Not known.",
        "## Limits",
        _limits(evaluation, data),
        "## Marking",
        "Samples carry no hidden mark. Where you publish them, say that they are generated, and by this model.",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def plain(value: Any) -> str:
    """Any text as one line of Markdown that shows it as it is."""
    line = " ".join(legible(str(value)).split())
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", html.escape(line, quote=False))


def _quoted(value: Any) -> str:
    """A text as YAML: a JSON string, which is one."""
    return json.dumps(legible(" ".join(str(value).split())), ensure_ascii=False)


def _catalogued(path: str) -> dict[str, Any]:
    """What the catalog knows of the data, if it is a named set."""
    from genloom.data.catalog import describe

    try:
        return describe(path)
    except InputError:
        return {}


# -- parts ------------------------------------------------------------------------------


def _metadata(
    name: str,
    config: Mapping[str, Any],
    data: Mapping[str, Any],
    known: Mapping[str, Any],
    evaluation: Evaluation | None,
) -> str:
    kind, model = str(config.get("kind", "")), str(config.get("model", ""))
    lines = ["---", "library_name: genloom"]
    if kind in TASKS:
        lines.append(f"pipeline_tag: {TASKS[kind]}")
    lines += ["tags:", "- genloom", *(f"- {_quoted(t)}" for t in (kind, model) if t)]
    if known:
        lines += ["datasets:", f"- {_quoted(known['name'])}"]
    measured = [f for f in evaluation.figures if f.value is not None] if evaluation else []
    if measured:
        lines += ["metrics:", *(f"- {_quoted(f.name)}" for f in measured)]
        set_name = _quoted(data.get("name") or "unknown")
        lines += ["model-index:", f"- name: {_quoted(name)}", "  results:", "  - task:"]
        lines += [f"      type: {TASKS.get(kind, 'other')}", "    dataset:"]
        lines += [f"      name: {set_name}", f"      type: {set_name}", "    metrics:"]
        for f in measured:
            lines += [f"    - type: {_quoted(f.name)}", f"      name: {_quoted(f.title)}"]
            lines.append(f"      value: {json.dumps(float(f'{f.value:.6g}'))}")
    return "\n".join([*lines, "---"])


def _about(config: Mapping[str, Any], manifest: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    recipe = f", from the recipe `{plain(config['recipe'])}`" if config.get("recipe") else ""
    start = f", going on from `{plain(config['start'])}`" if config.get("start") else ""
    trained = duration(mapping(manifest).get("seconds"))
    steps = integer(manifest.get("steps"))
    how = f", in {steps} steps and {trained}" if steps and trained else ""
    return (
        f"A generative model of the kind `{plain(config.get('model', 'unknown'))}` for {plain(config.get('kind', ''))} "
        f"data, trained with genloom on {plain(data.get('name') or 'unnamed data')}{recipe}{start}{how}. It makes new "
        "examples that look like that data."
    )


def _data(data: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    classes = [str(c) for c in data.get("classes") or []]
    shown = ", ".join(classes[:30]) + (" …" if len(classes) > 30 else "")
    pairs = [
        ("name", str(data.get("name") or "")),
        ("what", str(known.get("what") or "")),
        ("licence", str(known.get("licence") or "not known: ask whoever the data is from before you pass samples on")),
        ("home", str(known.get("home") or "")),
        *((f"{s} examples", integer(data.get(s))) for s in ("train", "validation", "test")),
        (f"{len(classes)} classes", shown),
        ("left out, unreadable", integer(len(data.get("quarantined") or [])) if data.get("quarantined") else ""),
        ("digest", str(data.get("digest") or "")),
    ]
    return _list(pairs)


def _usage(name: str, config: Mapping[str, Any]) -> str:
    safe = re.sub(r"[`\r\n]", "?", legible(name))
    shell = "'" + safe.replace("'", "'\\''") + "'"
    code = json.dumps(safe, ensure_ascii=False)
    return (
        f"```\npip install genloom\ngenloom sample {shell} -n 16 -o out\n```\n\n"
        f"```python\nimport genloom\n\nrun = genloom.load({code})\nexamples = run.sample(16, seed=0)\n```\n\n"
        "The folder needs `config.json`, `modality.json`, `manifest.json` and `model.safetensors`, not the training "
        "data."
    )


def _figures(evaluation: Evaluation | None, problem: str) -> str:
    if evaluation is None:
        return plain(f"They cannot be shown: {problem}.") if problem else "Not judged yet: `genloom evaluate` does it."
    n, reference = evaluation.samples.get("n"), evaluation.reference.get("n")
    table = [
        f"{integer(n)} samples against {integer(reference)} held-out examples; features: "
        f"{plain(evaluation.features.get('name', ''))}. Compare only figures of equal numbers, features and data.",
        "",
        "| figure | value | 95% interval | real data | no skill | better |",
        "|---|---|---|---|---|---|",
        *map(_row, evaluation.figures),
    ]
    return "\n".join(table)


def _row(f: Figure) -> str:
    interval = f"{number(f.interval[0])} to {number(f.interval[1])}" if f.interval else "–"
    value = number(f.value) if f.value is not None else plain(f.note)
    better = {"lower": "lower", "higher": "higher", "reference": "as real data"}[f.direction]
    return f"| {plain(f.title)} | {value} | {interval} | {number(f.ceiling)} | {number(f.floor)} | {better} |"


def _copying(evaluation: Evaluation | None, manifest: Mapping[str, Any]) -> str:
    found = copying_of(evaluation, manifest)
    facts = copying_facts(found) if evaluation else [("verdict", "not tested")]
    return f"{plain(found['sentence'])}\n\n{_list(facts)}"


def _privacy(manifest: Mapping[str, Any]) -> list[str]:
    """What a private training promises; nothing of others."""
    promise = mapping(manifest.get("privacy"))
    if not promise:
        return []
    return [
        "## Differential privacy",
        f"Trained by DP-SGD: epsilon {number(promise.get('epsilon'))}, delta {promise.get('delta')}, of "
        f"{plain(promise.get('unit'))} ({integer(promise.get('steps'))} steps, noise {number(promise.get('noise'))} "
        f"times the clipping norm {number(promise.get('clip'))}, sampling rate {number(promise.get('rate'))}, "
        f"accountant {plain(promise.get('accountant'))}). It covers {plain(promise.get('covers'))}.",
    ]


def _groups(evaluation: Evaluation | None) -> str:
    groups = mapping(evaluation.groups) if evaluation else {}
    rows = [g for g in groups.get("groups") or [] if isinstance(g, dict)]
    if not rows:
        return "Not measured."
    table = [f"| {groups.get('kind', 'group')} | samples | data | state |", "|---|---|---|---|"]
    for g in rows:
        cells = plain(g.get("name")), percent(g.get("samples")), percent(g.get("data")), plain(g.get("state"))
        table.append(f"| {' | '.join(cells)} |")
    warnings = "".join(f"\n- {plain(w)}" for w in groups.get("warnings") or [])
    return "\n".join(table) + ("\n" + warnings if warnings else "")


def _limits(evaluation: Evaluation | None, data: Mapping[str, Any]) -> str:
    lines = [
        "It knows nothing beyond its training data and repeats that data's gaps and biases.",
        "Figures say how samples compare with held-out examples of the same data, not what they are good for.",
    ]
    lines += [str(n) for n in evaluation.notices] if evaluation else ["Nothing about its quality was measured."]
    lines += [str(n) for n in data.get("notices") or []]
    return "\n".join(f"- {plain(line)}" for line in lines)


def _list(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {plain(k)}: {plain(v)}" for k, v in pairs if v)
