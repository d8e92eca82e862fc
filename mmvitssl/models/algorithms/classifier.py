"""An encoder and a head that names classes: probes on frozen features, and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.named import SOURCES
from mmvitssl.checkpoint.strict import LoadReport
from mmvitssl.evaluation.features import check_readout, encode_features, readout_width
from mmvitssl.models.backbones.contract import Normed, check_backbone
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.models.sizes import build_part
from mmvitssl.models.stochastic_depth import number_layers, rows_drawn, sample_depths
from mmvitssl.randomness import all_seeded, batch_seed
from mmvitssl.registry import MODELS
from mmvitssl.structures import View

POOLED_NORMS = (None, "fresh", "pretrained")


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Classify images from an encoder's features.

    Args:
        encoder: config of the encoder.
        head: config of the head; its channels, attention heads and blocks follow from the encoder.
        readout: feature of an image: 'cls', 'mean', 'cls+mean', 'cls-last4', 'blocks' or
            'token:NAME' (:func:`~mmvitssl.evaluation.features.encode_features`). A head that
            reads all tokens ignores it and refuses another than 'cls'; one of all blocks takes
            'blocks'.
        frozen: whether the encoder stays as it is: no gradients, always in eval mode, so that
            stochastic depth is off.
        pooled_norm: in place of the encoder's final norm, which mean-pooled fine-tuning leaves out,
            one after the pooling: 'fresh' (MAE, LoMaR, BEiT), or 'pretrained', which starts from
            the weights of the final norm (CAE). None: the final norm stays.
        augment: config of :class:`BatchAugment` without ``num_classes``, for training.
        label_smoothing: share of the label that all classes get alike.
        source: which encoder of a pretraining checkpoint is taken: 'online', 'target' or 'ema';
            None: what the method's authors evaluate (DINO's teacher, else the online one).
        data_preprocessor: config; by default ImageNet normalisation.
        seed: of ``augment``, stochastic depth and dropout.

    Raises:
        ValueError: a readout that the encoder does not have, or settings that contradict.
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        head: dict[str, Any],
        readout: str = "cls",
        frozen: bool = False,
        pooled_norm: str | None = None,
        augment: dict[str, Any] | None = None,
        label_smoothing: float = 0.0,
        source: str | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data_preprocessor=build_preprocessor(data_preprocessor))
        self.encoder = MODELS.build(encoder)
        spec = check_backbone(self.encoder).spec
        check_readout(self.encoder, readout, one_vector=False)
        if pooled_norm not in POOLED_NORMS or (pooled_norm and (readout != "mean" or frozen)):
            raise ValueError(
                f"ImageClassifier.pooled_norm='{pooled_norm}' must be one of {POOLED_NORMS}, and "
                f"needs readout='mean' and an encoder that is not frozen."
            )
        if source not in (None, *SOURCES):
            raise ValueError(f"ImageClassifier.source='{source}' must be None or one of {SOURCES}.")
        self.readout, self.frozen, self.pooled_norm = readout, frozen, pooled_norm
        self.label_smoothing, self.source, self.seed = label_smoothing, source, seed
        self.fc_norm = self._take_norm() if pooled_norm else None
        self.head: Any = build_part(
            head,
            "ImageClassifier.head",
            f"the encoder, with readout='{readout}',",
            in_channels=readout_width(spec, readout),
            num_heads=head.get("num_heads") or (spec.num_heads or (None,))[-1],
            num_blocks=spec.depth,
        )
        if self.head.tokens and readout != "cls":
            raise ValueError(
                f"ImageClassifier.readout='{readout}', but {type(self.head).__name__} reads all "
                f"tokens: leave the readout out."
            )
        blocks = spec.depth if readout == "blocks" else None
        if getattr(self.head, "num_blocks", None) != blocks:
            raise ValueError(
                f"ImageClassifier.readout='{readout}' gives features of "
                f"{blocks or 'no'} blocks, which {type(self.head).__name__} does not read: "
                f"readout='blocks' goes with BlockwiseLinearHead."
            )
        self.augment = None
        if augment is not None:
            default = {"type": "BatchAugment", "num_classes": self.head.num_classes}
            self.augment = MODELS.build({**default, **augment})
        if frozen:
            self.encoder.requires_grad_(False).eval()
        self.depth_layers = number_layers(self)

    def _take_norm(self) -> nn.LayerNorm:
        """A norm for after the pooling; the encoder's own one leaves the model."""
        if not isinstance(self.encoder, Normed):
            raise ValueError(
                f"ImageClassifier.pooled_norm='{self.pooled_norm}' replaces the final norm of the "
                f"encoder, which {type(self.encoder).__name__} cannot take out (take_norm): leave "
                f"pooled_norm out."
            )
        norm = self.encoder.take_norm()
        return nn.LayerNorm(norm.normalized_shape[0], eps=norm.eps)

    def train(self, mode: bool = True) -> ImageClassifier:
        """A frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def load_pretrained(
        self,
        path: str | Path,
        source: str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> LoadReport:
        """Load a pretrained encoder, strictly; see :func:`~mmvitssl.checkpoint.load_encoder`.

        Args:
            path: of the checkpoint.
            source: which encoder of it; None: the model's ``source``.
            log: where the report goes.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it does not fit.
        """
        how = (path, source or self.source, log, self.data_preprocessor)
        if self.pooled_norm != "pretrained":
            return load_encoder(self.encoder, *how)
        self.encoder.norm = self.fc_norm  # for as long as it takes the weights of the final norm
        try:
            return load_encoder(self.encoder, *how)
        finally:
            self.encoder.norm = nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> what the head reads: (B, C'), or tokens (B, L, C)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.head.tokens:
                encoded = self.encoder(images)
                return encoded.patches if encoded.tokens is None else encoded.tokens
            values = encode_features(self.encoder, images, self.readout)
        return values if self.fc_norm is None else self.fc_norm(values)

    def forward(
        self,
        samples: dict[str, Any],
        views: Sequence[View] | None = None,
        features: Tensor | None = None,
        mode: str = "loss",
    ) -> dict[str, Tensor] | list[dict[str, Any]] | Tensor:
        """Run one batch.

        Args:
            samples: what the collate function kept of the samples; ``label`` is (B,) long.
            views: from the data preprocessor; the first one, (B, 3, H, W), is read.
            features: in place of views, what :meth:`features` gave for the images.
            mode: 'loss' gives ``loss`` and, where labels are not mixed, ``top1`` in percent
                (the best block's); 'predict' one dict with ``scores`` (num_classes,), ``label``
                and ``path`` an image; 'tensor' the logits (B, num_classes). Of a head of all
                blocks, scores and logits have an axis of blocks before the classes.

        Raises:
            ValueError: an unknown mode, or samples without labels.
        """
        if mode == "loss":
            device = next(self.head.parameters()).device
            depths = sample_depths(self.seed, samples, self.depth_layers, device)
            # dropout of users' modules draws from the global generators
            with all_seeded(batch_seed(self.seed, samples), device), rows_drawn(depths):
                return self._loss(samples, views, features)
        logits = self.head(self._read(views) if features is None else features)
        if mode == "tensor":
            return logits
        if mode == "predict":
            rows = zip(logits.float().cpu(), _labels(samples), samples["path"], strict=True)
            return [{"scores": s, "label": label, "path": path} for s, label, path in rows]
        raise ValueError(
            f"ImageClassifier.forward knows 'loss', 'predict', 'tensor', not '{mode}'."
        )

    def _read(self, views: Sequence[View] | None) -> Tensor:
        if not views:
            raise ValueError("ImageClassifier needs views or features.")
        return self.features(views[0].images)

    def _loss(
        self, samples: dict[str, Any], views: Sequence[View] | None, features: Tensor | None
    ) -> dict[str, Tensor]:
        labels = _labels(samples)
        if features is None and views and self.augment is not None:
            images = views[0].images
            labels = labels.to(images.device)
            images, labels = self.augment(images, labels, batch_seed(self.seed, samples))
            features = self.features(images)
        elif features is None:
            features = self._read(views)
        logits = self.head(features).float()
        labels = labels.to(logits.device)
        loss = torch.stack([
            F.cross_entropy(block, labels, label_smoothing=self.label_smoothing)
            for block in (logits.unbind(1) if logits.ndim == 3 else (logits,))
        ]).sum()  # fmt: skip
        if labels.ndim > 1:
            return {"loss": loss}
        guess = logits.detach().argmax(dim=-1)
        right = 100 * (guess == labels.view(-1, *[1] * (guess.ndim - 1))).float().mean(dim=0)
        return {"loss": loss, "top1": right.max()}


def _labels(samples: dict[str, Any]) -> Tensor:
    if "label" not in samples:
        raise ValueError(
            "ImageClassifier needs labels: use LabelledFolder, ImageList with labelled=True or "
            "PackedImages of a file with labels."
        )
    return samples["label"]
