"""Tables and plots of a study, from its JSON files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from mmvitssl.engine.launch import UserError

from . import plots
from .plan import RESULTS, ROOT, Study
from .statistics import standard_errors, summarise

BEGIN, END = "<!-- results of {}: begin -->", "<!-- results of {}: end -->"
FEW = 5  # runs that a rank correlation needs
TITLES = {
    "knn": "kNN (k = 20)",
    "linear": "linear",
    "knn_cls": "kNN, class token",
    "linear_cls": "linear, class token",
}


def read_records(study: Study, results: Path = RESULTS) -> list[dict[str, Any]]:
    """The JSON files of a study, in the order of its runs and seeds."""
    records = [
        json.loads(path.read_text()) for path in sorted((results / study.name).glob("*.json"))
    ]
    order = {run.name: number for number, run in enumerate(study.runs)}
    known = [record for record in records if record["run"] in order]
    return sorted(known, key=lambda record: (order[record["run"]], record["seed"]))


def title(metric: str) -> str:
    """A metric as a table's column calls it."""
    if metric.startswith("finetune_"):
        return f"fine-tuned, {metric.removeprefix('finetune_').removesuffix('pct')} % of labels"
    return TITLES.get(metric, metric)


def by_run(records: Sequence[Mapping[str, Any]], metric: str) -> dict[str, list[float]]:
    """Values over seeds of every run that has the metric."""
    values: dict[str, list[float]] = {}
    for record in records:
        if metric in record["metrics"]:
            values.setdefault(record["run"], []).append(record["metrics"][metric])
    return values


def cell(values: Sequence[float], baseline: Sequence[float] | None) -> str:
    """Mean, 95 % interval and distance from the baseline in standard errors."""
    if not values:
        return "-"
    summary = summarise(values)
    text = f"{summary.mean:.1f}"
    if summary.interval is not None:
        text += f" ± {summary.interval:.1f}"
    distance = standard_errors(values, baseline) if baseline else None
    return text if distance is None else f"{text} ({distance:+.0f} SE)"


def table(study: Study, records: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: a row per run, a column per metric."""
    metrics = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    rows = [
        "| run | seeds | steps | images | 10¹² operations | core minutes | "
        + " | ".join(map(title, metrics)) + " |",
        "| --- " * (6 + len(metrics)) + "|",
    ]  # fmt: skip
    values = {metric: by_run(records, metric) for metric in metrics}
    for run in study.runs:
        own = [record for record in records if record["run"] == run.name]
        if not own:
            continue
        compute = own[0]["compute"]
        minutes = summarise([record["compute"]["processor_seconds"] / 60 for record in own]).mean
        cells = [run.label, str(len(own)), f"{compute['iterations']:,}", f"{compute['images']:,}",
                 f"{compute['flops'] / 1e12:.0f}", f"{minutes:.0f}"]  # fmt: skip
        for metric in metrics:
            # random weights are compared with nothing
            other = None if run.iterations == 0 else run.baseline or study.baseline
            baseline = None if other in (None, run.name) else values[metric].get(other)
            cells.append(cell(values[metric].get(run.name, []), baseline))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def machines(records: Sequence[Mapping[str, Any]]) -> str:
    """One sentence on where the runs were made."""
    names = sorted({record["machine"]["processor"] for record in records})
    torches = sorted({record["machine"]["torch"] for record in records})
    commits = sorted({record["commit"][:7] for record in records})
    return (
        f"{len(records)} runs on {'; '.join(names)}; torch {', '.join(torches)}; commits "
        f"{', '.join(commits)}. ± is half the 95 % confidence interval over seeds; SE counts "
        f"standard errors of the difference from random weights of the same encoder, or from the "
        f"run that the study names."
    )


def cosine_table(study: Study, records: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of gradient cosines: a row per run and pair of tasks."""
    rows = ["| run | tasks | seeds | cosine of their gradients |", "| --- | --- | --- | --- |"]
    for run in study.runs:
        own = [record["gradient_cosines"] for record in records
               if record["run"] == run.name and "gradient_cosines" in record]  # fmt: skip
        for pair in dict.fromkeys(name for cosines in own for name in cosines):
            summary = summarise([cosines[pair] for cosines in own if pair in cosines])
            spread = "" if summary.interval is None else f" ± {summary.interval:.3f}"
            rows.append(
                f"| {run.label} | {pair.replace('_', ', ')} | {summary.count} "
                f"| {summary.mean:+.3f}{spread} |"
            )
    return "\n".join(rows) if len(rows) > 2 else ""


def agreement(records: Sequence[Mapping[str, Any]]) -> str:
    """How the order of runs by health agrees with that by linear probe, as one sentence."""
    parts = []
    for key, name in (("rankme", "RankMe"), ("alpha_req", "alpha-ReQ")):
        pairs = [
            (record["health"][key], record["metrics"]["linear"])
            for record in records
            if record.get("health", {}).get(key) is not None and "linear" in record["metrics"]
        ]
        if len(pairs) >= FEW:
            values, accuracies = zip(*pairs, strict=True)
            parts.append(f"{spearmanr(values, accuracies).statistic:+.2f} for {name}")
            number = len(pairs)
    if not parts:
        return ""
    return (
        f"Rank correlation (Spearman) of label-free measures of the features with the linear "
        f"probe, over {number} runs: {' and '.join(parts)}."
    )


def write(study: Study, results: Path = RESULTS, pages: Path | None = None) -> None:
    """Put table and plot into the study's page, between its two marks.

    Raises:
        UserError: no run is done, or the page lacks the marks.
    """
    pages = pages or ROOT / "docs" / "results"
    records = read_records(study, results)
    if not records:
        raise UserError(f"No run of {study.name} is done: there is no JSON file in {results}.")
    begin, end = BEGIN.format(study.name), END.format(study.name)
    page = pages / study.page
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"{page} must have the lines '{begin}' and '{end}' once each.")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    texts = [table(study, records), machines(records), agreement(records)]
    texts.append(cosine_table(study, records))
    if any("linear" in record["metrics"] for record in records):
        plots.by_run(study, records, pages / "plots" / f"{study.name}.svg")
        texts.append(f"![Linear probe by run](plots/{study.name}.svg)")
        if any(run.iterations != 0 for run in study.runs):
            plots.by_compute(study, records, pages / "plots" / f"{study.name}-compute.svg")
            texts.append(f"![Linear probe against compute](plots/{study.name}-compute.svg)")
    parts = [begin, "\n\n".join(filter(None, texts))]
    page.write_text(before + "\n".join([*parts, end]) + after, encoding="utf-8")
    print(f"wrote {page}")
