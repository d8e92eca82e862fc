"""What frozen features are worth: nearest neighbours and logistic regression."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import nn
from torch.utils.data import Dataset

from mmvitssl.checkpoint import load_encoder
from mmvitssl.datasets import collate_views
from mmvitssl.datasets.classes import common_files, share_classes
from mmvitssl.datasets.sampler import SampleKey
from mmvitssl.evaluation.features import Features, check_readout, extract_features
from mmvitssl.evaluation.knn import knn_accuracy, linear_accuracy
from mmvitssl.models.backbones.contract import backbone_in
from mmvitssl.models.backbones.patch_tokens import check_channels
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.registry import DATASETS, MODELS

NEEDED = ("encoder", "bank", "queries")
OPTIONAL = {
    "data_preprocessor": None,
    "readout": "cls",
    "neighbours": (10, 20, 100, 200),
    "temperature": 0.07,
    "batch_size": 256,
    "workers": 0,
}


def warn_of_common_files(bank: Dataset, queries: Dataset) -> None:
    """Log a warning if images are in the bank and among the queries."""
    common = common_files(bank, queries)
    if common:
        print_log(
            f"{len(common)} of the image files in queries are in bank too, such as {common[0]}: "
            f"they are their own nearest neighbours, so the accuracy is too high. Use different "
            f"images.",
            logger="current",
            level=30,
        )


class FeatureProbe:
    """Encode a labelled bank and labelled queries, and classify the queries by the bank.

    Args:
        encoder: built.
        bank, queries: labelled data sets of the same classes, which are matched by name; the
            queries are numbered as the bank is. Images that are in both are a warning.
        preprocessor: built; None: ImageNet normalisation.
        readout: what of the encoder's output
            (:func:`~mmvitssl.evaluation.features.read_out`).
        neighbours: values of k.
        temperature: of the votes.
        batch_size, workers, precision: see
            :func:`~mmvitssl.evaluation.features.extract_features`.
        linear: whether to fit logistic regression too.

    Raises:
        ValueError: data without labels, classes of bank and queries that differ, or a readout
            that the encoder does not have.
    """

    def __init__(
        self,
        encoder: nn.Module,
        bank: Dataset,
        queries: Dataset,
        preprocessor: nn.Module | None = None,
        readout: str = "cls",
        neighbours: Sequence[int] = (10, 20, 100, 200),
        temperature: float = 0.07,
        batch_size: int = 256,
        workers: int = 0,
        precision: str = "fp32",
        linear: bool = False,
    ) -> None:
        for name, dataset in (("bank", bank), ("queries", queries)):
            if getattr(dataset, "labels", None) is None:
                raise ValueError(
                    f"{name} is a {type(dataset).__name__} without labels: use LabelledFolder, or "
                    f"PackedImages of a file with labels."
                )
        share_classes({"bank": bank, "queries": queries})
        warn_of_common_files(bank, queries)
        check_readout(encoder, readout)
        self.encoder, self.bank, self.queries = encoder, bank, queries
        self.preprocessor = preprocessor or build_preprocessor(None)
        for name, dataset in (("bank", bank), ("queries", queries)):
            self._check_sample(name, dataset)
        self.readout, self.linear = readout, linear
        self.neighbours, self.temperature = tuple(neighbours), temperature
        self.how: dict[str, Any] = dict(batch_size=batch_size, workers=workers, precision=precision)

    def _check_sample(self, name: str, dataset: Any) -> None:
        """Raise ValueError unless encoder and preprocessor take an image of a data set."""
        sample = dataset[SampleKey(0)]
        if "views" in sample:
            batch = collate_views([sample])
            try:
                check_channels(backbone_in(self.encoder), batch["views"][0])
                self.preprocessor(batch, False)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    @classmethod
    def from_config(
        cls, config: Any, precision: str = "fp32", linear: bool = False
    ) -> FeatureProbe:
        """From a config with ``encoder``, ``bank``, ``queries`` and the optional settings.

        Raises:
            ValueError: a key is missing or unknown.
        """
        known = [*NEEDED, *OPTIONAL]
        missing = [key for key in NEEDED if key not in config]
        if missing:
            raise ValueError(
                f"The config lacks {', '.join(missing)}: feature probes need {', '.join(NEEDED)}."
            )
        for key in config:
            near = difflib.get_close_matches(key, known, 1, cutoff=0.8)
            if key not in known and near:
                raise ValueError(f"The config sets '{key}': did you mean '{near[0]}'?")
        settings = {key: config.get(key, value) for key, value in OPTIONAL.items()}
        return cls(
            MODELS.build(config["encoder"]),
            DATASETS.build(config["bank"]),
            DATASETS.build(config["queries"]),
            build_preprocessor(settings.pop("data_preprocessor")),
            precision=precision,
            linear=linear,
            **settings,
        )

    def load(
        self, path: str, source: str | None = None, log: Callable[[str], None] = print
    ) -> None:
        """Load a checkpoint's encoder, strictly; see :func:`~mmvitssl.checkpoint.load_encoder`."""
        load_encoder(self.encoder, path, source, log, self.preprocessor)

    def features(self, dataset: Dataset) -> Features:
        """Features of a data set."""
        return extract_features(self.encoder, dataset, self.preprocessor, self.readout, **self.how)

    def accuracies(self) -> dict[str, float]:
        """Top-1 accuracies in [0, 1]: ``knn_K`` for each k, and ``linear`` where asked for."""
        bank, queries = self.features(self.bank), self.features(self.queries)
        assert bank.labels is not None and queries.labels is not None
        data = (bank.values, bank.labels, queries.values, queries.labels)
        result = {
            f"knn_{k}": value
            for k, value in knn_accuracy(*data, self.neighbours, self.temperature).items()
        }
        if self.linear:
            result["linear"] = linear_accuracy(*data)
        return result
