"""timm's plain Vision Transformer, trained with labels: what a machine gives an encoder alone."""

from __future__ import annotations

import timm
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.nn import functional as F

from benchmark.configs import view_sizes
from benchmark.step import Bench, synthetic_views
from mmvitssl.engine.launch import UserError
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.data_preprocessor import ViewPreprocessor

CLASSES = 1000


class SupervisedBench(Bench):
    """A ViT of timm with the sizes and the optimizer of a config, a classifier and cross-entropy.

    It is no peer of a method: its operations are others. Its ``mfu`` says how near to the rate of
    matrix products a plain encoder comes on this machine, in the same run.

    Args:
        name: of the method that it runs beside.
        config: ours; the size of its first view, its encoder's arch and patch size, and its
            optimizer are taken, fused as ours is.
        batch_size: images.
        device: 'cpu' or 'cuda'.
        amp: 'bf16' or 'fp32'.
        compile: whether the model is compiled.

    Raises:
        UserError: the encoder is no ViT.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        batch_size: int,
        device: str = "cpu",
        amp: str = "fp32",
        compile: bool = False,
    ) -> None:
        encoder = config.model.encoder
        if encoder.type.rpartition(".")[2] != "ViT":
            raise UserError(f"--peer timm: the encoder of {name} is no ViT.")
        torch.manual_seed(0)
        self.name, self.batch_size = f"timm beside {name}", batch_size
        self.device = torch.device(device)
        views = synthetic_views(config, batch_size)
        self.model = timm.models.VisionTransformer(
            img_size=view_sizes(config)[0],
            patch_size=encoder.get("patch_size", 16),
            num_classes=CLASSES,
            **architecture(encoder.get("arch", "base")),
        ).to(self.device)
        settings = dict(config.model.data_preprocessor)
        settings.pop("type")
        self.preprocessor = ViewPreprocessor(**settings).to(self.device)
        wrapper = dict(
            type="AutocastOptimWrapper",
            precision=amp,
            optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05, fused=True),
        )
        self.optim_wrapper = build_optim_wrapper(self.model, wrapper)
        self.views = [views[0].to(self.device)]
        self.labels = torch.arange(batch_size, device=self.device) % CLASSES
        if compile:
            self.model.compile()

    def step(self) -> None:
        """Forward, cross-entropy, backward, optimizer."""
        data = self.preprocessor({"views": self.views, "samples": {}}, training=True)
        with self.optim_wrapper.optim_context(self.model):
            loss = F.cross_entropy(self.model(data["views"][0].images), self.labels)
        self.optim_wrapper.update_params(loss)
