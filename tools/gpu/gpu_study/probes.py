"""Accuracy of frozen features: nearest neighbours and logistic regression."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvitssl.evaluation.knn import knn_accuracy

PENALTIES = (1e-5, 1e-4, 1e-3)
CLASSES, NEIGHBOURS, PART = 10, 20, 1000


@torch.no_grad()
def encode(model: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) uint8 -> (N, C) means of the patch tokens and (N, C) class tokens, float32."""
    model.encoder.eval()
    means, classes = [], []
    kind = images.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
        for part in images.split(PART):
            data = model.data_preprocessor({"views": [part], "samples": {}}, False)
            encoded = model.encoder(data["views"][0].images)
            means.append(encoded.patches.float().mean(1))
            classes.append(encoded.cls.float())
    model.train()
    return torch.cat(means), torch.cat(classes)


def _fit(features: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """(C + 1, classes) weights, the last row the bias."""
    weight = torch.zeros(
        features.shape[1] + 1, CLASSES, device=features.device, requires_grad=True
    )
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(_logits(weight, features), labels)
        loss = loss + penalty * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]  # a closure may return a tensor
    return weight.detach()


def _logits(weight: Tensor, features: Tensor) -> Tensor:
    return features @ weight[:-1] + weight[-1]


def _accuracy(weight: Tensor, features: Tensor, labels: Tensor) -> float:
    return float((_logits(weight, features).argmax(1) == labels).float().mean())


def logistic_accuracy(train: Tensor, labels: Tensor, test: Tensor, answers: Tensor) -> float:
    """Test accuracy of logistic regression on standardised features.

    The penalty is chosen on a tenth of the training features.

    Args:
        train, labels: (N, C) and (N,).
        test, answers: (M, C) and (M,).
    """
    centre, spread = train.mean(0), train.std(0) + 1e-6
    train, test = (train - centre) / spread, (test - centre) / spread
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    held, kept = order.to(train.device).split([len(train) // 10, len(train) - len(train) // 10])

    def held_out(penalty: float) -> float:
        return _accuracy(_fit(train[kept], labels[kept], penalty), train[held], labels[held])

    return _accuracy(_fit(train, labels, max(PENALTIES, key=held_out)), test, answers)


def probe(model: Any, data: dict[str, Tensor], linear: bool) -> dict[str, float]:
    """Accuracies in %, of means of patch tokens and of class tokens.

    Args:
        model: whose encoder is probed.
        data: 'train', 'train_labels', 'test' and 'test_labels'.
        linear: logistic regression too.
    """
    means, classes = encode(model, data["train"])
    test_means, test_classes = encode(model, data["test"])
    labels, answers = data["train_labels"], data["test_labels"]
    found = {
        name: knn_accuracy(bank, labels, queries, answers, (NEIGHBOURS,))[NEIGHBOURS]
        for name, bank, queries in (
            ("knn_20", means, test_means),
            ("knn_20_cls", classes, test_classes),
        )
    }
    if linear:
        found["linear"] = logistic_accuracy(means, labels, test_means, answers)
    return {name: round(100 * value, 2) for name, value in found.items()}
