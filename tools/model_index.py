#!/usr/bin/env python
"""Write metafile.yml of every folder of configs, and model-index.yml, which OpenMMLab's tools read.

Published numbers are read from the headers of the configs, own ones from docs/results/runs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from mmvitssl.apis.recipes import Recipe, list_recipes

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "docs/results/runs"
COMMAND = "python tools/model_index.py"
# folder: (title, number at arXiv) of the paper
PAPERS = {
    "beit": ("BEiT: BERT Pre-Training of Image Transformers", "2106.08254"),
    "byol": ("Bootstrap your own latent", "2006.07733"),
    "cae": ("Context Autoencoder for Self-Supervised Representation Learning", "2202.03026"),
    "dino": ("Emerging Properties in Self-Supervised Vision Transformers", "2104.14294"),
    "lomar": ("Efficient Self-supervised Vision Pretraining with Local Masked Reconstruction",
              "2206.00790"),
    "mae": ("Masked Autoencoders Are Scalable Vision Learners", "2111.06377"),
    "moby": ("Self-Supervised Learning with Swin Transformers", "2105.04553"),
    "mocov2": ("Improved Baselines with Momentum Contrastive Learning", "2003.04297"),
    "mocov3": ("An Empirical Study of Training Self-Supervised Vision Transformers", "2104.02057"),
    "repre": ("RePre: Improving Self-Supervised Vision Transformer with Reconstructive "
              "Pre-training", "2201.06857"),
    "simclr": ("A Simple Framework for Contrastive Learning of Visual Representations",
               "2002.05709"),
    "simmim": ("SimMIM: A Simple Framework for Masked Image Modeling", "2111.09886"),
    "simsiam": ("Exploring Simple Siamese Representation Learning", "2011.10566"),
}  # fmt: skip
NUMBER = r"(\d{2}\.\d{1,2})"
# task, data set, metric, what the header says
PUBLISHED = (
    ("Linear probe", "ImageNet-1k", "Top 1 Accuracy", rf"linear (?:top-1 )?{NUMBER}"),
    ("Fine-tuning", "ImageNet-1k", "Top 1 Accuracy", rf"fine-tuned top-1 {NUMBER}"),
    ("Nearest neighbours", "ImageNet-1k", "Top 1 Accuracy", rf"kNN {NUMBER}"),
    ("Semantic segmentation", "ADE20K", "mIoU", rf"mIoU (?:of )?{NUMBER}"),
    ("Object detection", "COCO", "box AP", rf"box AP {NUMBER}"),
    ("Instance segmentation", "COCO", "mask AP", rf"mask AP {NUMBER}"),
)
MEASURED = {"knn": "Nearest neighbours", "linear": "Linear probe",
            "finetune_10pct": "Fine-tuning on 10 % of the labels",
            "finetune_1pct": "Fine-tuning on 1 % of the labels"}  # fmt: skip


def header(path: Path) -> str:
    """The comment at the beginning of a config."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def result(task: str, data: str, metric: str, value: float, source: str) -> dict[str, Any]:
    """An entry of ``Results``."""
    return {"Task": task, "Dataset": data, "Metrics": {metric: value}, "Source": source}


def published(text: str) -> list[dict[str, Any]]:
    """Results that a header states."""
    found = [
        result(task, data, metric, float(match[1]), "published")
        for task, data, metric, pattern in PUBLISHED
        if (match := re.search(pattern, text))
    ]
    kinds = {"Linear probe": "Linear probe", "Attentive probe": "Attentive probe",
             "Fine-tuning": "Fine-tuning"}  # fmt: skip
    kind = next((task for start, task in kinds.items() if text.startswith(start)), None)
    match = re.search(rf"published(?: by \w+)? {NUMBER}(?:,| |\.|$)", text)
    # of several numbers for several lengths of pretraining none is the config's
    if kind and not found and match and not re.search(rf"{NUMBER}, {NUMBER}", text):
        found.append(result(kind, "ImageNet-1k", "Top 1 Accuracy", float(match[1]), "published"))
    return found


def measured() -> dict[str, list[dict[str, Any]]]:
    """Results of this package's studies by config, means over seeds."""
    values: dict[str, dict[str, list[float]]] = {}
    for file in sorted(RUNS.glob("*/*.json")):
        run = json.loads(file.read_text(encoding="utf-8"))
        if run.get("options") or not run.get("config") or run.get("run", "").startswith("random"):
            continue
        metrics = values.setdefault(run["config"].removeprefix("configs/"), {})
        for name in MEASURED:
            if name in run["metrics"]:
                metrics.setdefault(name, []).append(run["metrics"][name])
    return {
        config: [
            result(MEASURED[name], "CIFAR-10", "Top 1 Accuracy", round(mean(each), 2),
                   f"ours, {len(each)} seed(s), docs/results")
            for name, each in metrics.items()
        ]
        for config, metrics in values.items()
    }  # fmt: skip


def model(recipe: Recipe, own: list[dict[str, Any]], collection: str) -> dict[str, Any]:
    """The entry of a config."""
    about: dict[str, Any] = {"Architecture": recipe.arch}
    length = re.search(r"-(\d+)e_", recipe.name)
    if length:
        about["Epochs"] = int(length[1])
    entry: dict[str, Any] = {
        "Name": Path(recipe.name).stem,
        "In Collection": collection,
        "Metadata": about,
        "Config": f"configs/{recipe.name}",
    }
    results = published(header(recipe.path)) + own
    return {**entry, "Results": results} if results else entry


def files() -> dict[Path, str]:
    """Every file and its text."""
    own, folders = measured(), dict[str, list[dict[str, Any]]]()
    names: set[str] = set()
    for recipe in list_recipes():
        folder = recipe.name.split("/")[0]
        entry = model(recipe, own.get(recipe.name, []), folder)
        if entry["Name"] in names:  # in another folder
            entry["Name"] = recipe.name.removesuffix(".py").replace("/", "_")
        names.add(entry["Name"])
        folders.setdefault(folder, []).append(entry)
    start = f"# Written by {COMMAND}.\n"
    written = {}
    for folder, models in folders.items():
        collection: dict[str, Any] = {"Name": folder}
        if folder in PAPERS:
            title, number = PAPERS[folder]
            collection["Paper"] = {"Title": title, "URL": f"https://arxiv.org/abs/{number}"}
        content = {"Collections": [collection], "Models": models}
        written[ROOT / "configs" / folder / "metafile.yml"] = start + yaml.safe_dump(
            content, sort_keys=False, width=100, allow_unicode=True
        )
    index = {"Import": [f"configs/{folder}/metafile.yml" for folder in folders]}
    written[ROOT / "mmvitssl/.mim/model-index.yml"] = start + yaml.safe_dump(index)
    return written


def main() -> None:
    """Write, or with ``--check`` compare."""
    changed = [path for path, text in files().items()
               if not path.is_file() or path.read_text(encoding="utf-8") != text]  # fmt: skip
    if "--check" in sys.argv[1:]:
        if changed:
            names = ", ".join(str(path.relative_to(ROOT)) for path in changed)
            sys.exit(f"error: {names} differ(s) from what the configs say: run {COMMAND}.")
        return
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    print(f"wrote {len(changed)} file(s)")


if __name__ == "__main__":
    main()
