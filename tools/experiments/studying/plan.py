"""What a study file says: runs, seeds, budget, evaluations."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmvitssl.engine.launch import UserError

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results" / "runs"
KEYS = ("question", "page", "baseline", "seeds", "flops", "precision", "files", "runs", "probe",
        "finetune")  # fmt: skip
RUN_KEYS = ("config", "options", "iterations", "flops", "label", "baseline", "method",
            "start", "tokenizer")  # fmt: skip
FINETUNE_KEYS = ("config", "options", "files", "metrics")


@dataclass(frozen=True)
class Run:
    """One pretraining of a study, for any seed.

    Attributes:
        name: unique within the study.
        config: pretraining config, relative to the checkout.
        options: changes of the config, as ``--cfg-options`` takes them.
        iterations: optimizer steps; 0 trains nothing; None: what ``flops`` pays for.
        flops: operations to spend on training; None: the study's.
        label: name in tables and plots.
        baseline: run that this one is compared with; None: the study's.
        method: run that this one is a longer or shorter training of: one line in plots.
        start: run of the same seed whose encoder this one starts from; None: random weights.
        tokenizer: ``config`` of a discrete VAE that is trained once for the study, and ``key`` of
            the run's config that takes its file; None: the run needs none.
    """

    name: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: int | None = None
    flops: float | None = None
    label: str = ""
    baseline: str | None = None
    method: str | None = None
    start: str | None = None
    tokenizer: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Study:
    """A grid of runs and seeds, and how each is evaluated.

    Attributes:
        name: of the study file, without suffix.
        question: one sentence that the study answers.
        page: file name of the page under docs/results with its tables.
        baseline: name of the run that those without one of their own are compared with.
        seeds: of every run.
        flops: operations that a run spends on training.
        precision: 'bf16' or 'fp32', of training and features.
        files: names of data files by the config keys that read them.
        runs: in the order of their value.
        probe: config of the features' probe (:class:`~mmvitssl.evaluation.probes.FeatureProbe`)
            and ``readouts``; empty: none.
        finetune: by name, a fine-tuning: ``config``, ``options``, ``files`` as above, and
            ``metrics``, names of what tools/test.py writes.
        resident: whether packed images are kept decoded on the device
            (:func:`studying.resident.resident`); not of the file, but of how it is carried out.
    """

    name: str
    question: str
    page: str
    baseline: str
    seeds: tuple[int, ...]
    flops: float
    precision: str
    files: Mapping[str, str]
    runs: tuple[Run, ...]
    probe: Mapping[str, Any]
    finetune: Mapping[str, Mapping[str, Any]]
    resident: bool = False

    def record(self, run: str, seed: int, results: Path = RESULTS) -> Path:
        """The JSON file of a finished run."""
        return results / self.name / f"{run}_{seed}.json"

    def find(self, name: str) -> Run:
        """A run by its name.

        Raises:
            UserError: there is none.
        """
        for run in self.runs:
            if run.name == name:
                return run
        raise UserError(f"{self.name} has no run '{name}'; it has {[r.name for r in self.runs]}.")

    def evaluated(self, names: Sequence[str] | None) -> Study:
        """This study with some of its fine-tunings; None: with all.

        Raises:
            UserError: it has no fine-tuning of a name.
        """
        for name in names or ():
            if name not in self.finetune:
                raise UserError(
                    f"{self.name} has no fine-tuning '{name}'; it has {list(self.finetune)}."
                )
        if names is None:
            return self
        chosen = {name: entry for name, entry in self.finetune.items() if name in names}
        return dataclasses.replace(self, finetune=chosen)

    def select(
        self, only: Iterable[str] | None, seeds: Sequence[int] | None
    ) -> list[tuple[Run, int]]:
        """Pairs of run and seed, all runs of a seed before those of the next.

        Args:
            only: names of runs; None: all.
            seeds: None: the study's.
        """
        chosen = self.runs if only is None else tuple(self.find(name) for name in only)
        return [(run, seed) for seed in (seeds or self.seeds) for run in chosen]


def _check_keys(where: str, keys: Iterable[str], known: Sequence[str]) -> None:
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UserError(f"{where} has an unknown key '{key}'.{hint} Known: {', '.join(known)}.")


def read_study(path: str | Path) -> Study:
    """Read a study file: a Python file of the keys of :class:`Study`.

    Raises:
        UserError: there is no such file, or it has missing or unknown keys.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no study {path.absolute()}.")
    content = Config.fromfile(path).to_dict()
    _check_keys(str(path), content, KEYS)
    missing = [
        key for key in ("question", "page", "baseline", "flops", "runs") if key not in content
    ]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}.")
    runs = []
    for name, entry in content.pop("runs").items():
        _check_keys(f"{path}: run '{name}'", entry, RUN_KEYS)
        if entry.get("tokenizer") and sorted(entry["tokenizer"]) != ["config", "key"]:
            raise UserError(f"{path}: run '{name}': 'tokenizer' needs the keys config and key.")
        runs.append(Run(name=name, **{"label": name, **entry}))
    for name, entry in content.get("finetune", {}).items():
        _check_keys(f"{path}: finetune '{name}'", entry, FINETUNE_KEYS)
    defaults: dict[str, Any] = dict(seeds=(0,), precision="fp32", files={}, probe={}, finetune={})
    settings = {**defaults, **content}
    study = Study(
        name=path.stem, runs=tuple(runs), **{**settings, "seeds": tuple(settings["seeds"])}
    )
    study.find(study.baseline)
    for run in runs:
        for name in filter(None, (run.baseline, run.method, run.start)):
            study.find(name)
    return study
