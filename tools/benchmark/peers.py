"""The same methods as mmpretrain implements them, to measure against.

mmpretrain is no dependency: it is imported here alone, when a peer is asked for, and unchanged.
What a peer is built of: its own config of the method, with the width, the depth and the heads of
our encoder, the widths of our projectors and decoders, and as many masked patches. So both do the
same work, which the ratio of the operations shows. From its config too: preprocessing of the raw
images, initialisation, optimizer, clipping, parameter groups. Other than there:

- autocast to bfloat16 without a loss scaler (or float32), as ours: its wrapper refuses CPUs;
- the frozen tokenizer has random weights, as ours has;
- masks of BEiT, CAE and SimMIM are drawn once before the steps, since its data pipeline does that,
  whereas ours draws them in every step, within the time;
- SimCLR, BYOL, SimSiam and MoCo v2 exist there for ResNet-50 only: its algorithm, necks and heads
  stand on its MoCoV3ViT, with the optimizer of its MoCo v3;
- SimMIM exists there for Swin only: its algorithm, decoder and head stand on its BEiT's ViT, whose
  tokens are laid out as the map that its decoder reads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from benchmark.configs import view_sizes
from benchmark.step import Bench, synthetic_views
from mmvitssl.engine.launch import UserError
from mmvitssl.models.backbones.architectures import architecture
from mmvitssl.models.necks.tokens import tokens_to_map
from mmvitssl.registry import MODELS
from mmvitssl.structures import MaskedPatches

INSTALL = "pip install 'mmvitssl[bench]'"
SCOPE = "mmpretrain"
VIT_OPTIMIZER = "mocov3/mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k.py"
STEPS = 10**6  # of the schedule of its momentum


def require_peer() -> Path:
    """The folder of mmpretrain's configs.

    Raises:
        UserError: it is not installed, or not with its configs.
    """
    try:
        with redirect_stdout(sys.stderr):  # it prints what it could not import
            import mmpretrain
            import mmpretrain.models
    except ImportError as error:
        raise UserError(
            f"--peer mmpretrain: it cannot be imported ({error}). Install it with: {INSTALL}"
        ) from error
    configs = Path(mmpretrain.__file__).parent / ".mim" / "configs"
    if not configs.is_dir():
        raise UserError(
            f"--peer mmpretrain: {configs} is not there; install it whole, with: {INSTALL}"
        )
    return configs


class TokensToMap(nn.Module):
    """(B, 1 + N, C) tokens -> (B, C, h, w), without the class token."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens_to_map(tokens[:, 1:], self.grid).contiguous()


def _arch(config: Config) -> dict[str, int]:
    """Our encoder's arch in mmpretrain's words."""
    arch = architecture(config.model.encoder.get("arch", "base"))
    width = arch["embed_dim"]
    hidden = int(width * config.model.encoder.get("mlp_ratio", 4))
    return dict(
        embed_dims=width, num_layers=arch["depth"], num_heads=arch["num_heads"],
        feedforward_channels=hidden,
    )  # fmt: skip


def _backbone(config: Config) -> dict[str, Any]:
    return {"arch": _arch(config), "img_size": view_sizes(config)[0]}


def _mlp(projector: Any, in_channels: int, out_channels: int = 256) -> dict[str, Any]:
    """Our projector, or predictor of ``out_channels``, as its NonLinearNeck."""
    bias = projector.get("bias", False)
    return dict(
        type="NonLinearNeck",
        in_channels=in_channels,
        hid_channels=projector.get("hidden_channels", 4096) or in_channels,
        out_channels=projector.get("out_channels", out_channels),
        num_layers=projector.get("num_layers", 3),
        with_bias=bias,
        with_last_bias=projector.get("last_bias", bias),
        with_last_bn=projector.get("last_norm", True),
        with_last_bn_affine=projector.get("last_affine", False),
        with_avg_pool=False,
    )


def _mae(peer: Any, config: Config) -> None:
    neck = config.model.tasks.masked.neck
    patches = (view_sizes(config)[0][0] // 16) * (view_sizes(config)[0][1] // 16)
    peer.backbone.update(_backbone(config), mask_ratio=config.model.tasks.masked.masking.ratio)
    peer.neck.update(
        embed_dim=_arch(config)["embed_dims"], decoder_embed_dim=neck.width, num_patches=patches,
        decoder_depth=neck.depth, decoder_num_heads=neck.num_heads,
    )  # fmt: skip


def _beit(peer: Any, config: Config) -> None:
    peer.backbone.update(_backbone(config))
    vocabulary = config.model.tasks.masked.target.vocabulary
    peer.head.update(embed_dims=_arch(config)["embed_dims"], num_embed=vocabulary)
    peer.target_generator.vocab_size = vocabulary


def _cae(peer: Any, config: Config) -> None:
    task = config.model.tasks.context
    size = view_sizes(config)[0]
    patches = (size[0] // 16) * (size[1] // 16)
    peer.backbone.update(_backbone(config))
    peer.neck.update(
        embed_dims=_arch(config)["embed_dims"], num_heads=_arch(config)["num_heads"],
        regressor_depth=task.regressor.depth, decoder_depth=task.decoder.depth,
        num_classes=task.target.vocabulary, mask_tokens_num=int(task.masking.ratio * patches),
    )  # fmt: skip
    peer.target_generator.vocab_size = task.target.vocabulary


def _simmim(peer: Any, config: Config) -> None:
    size = view_sizes(config)[0]
    peer.backbone = dict(type="BEiTPretrainViT", patch_size=16, out_type="raw", final_norm=True,
                         **_backbone(config))  # fmt: skip
    peer.neck.update(in_channels=_arch(config)["embed_dims"], encoder_stride=16)
    peer.neck = nn.Sequential(TokensToMap((size[0] // 16, size[1] // 16)), _build(peer.neck))
    peer.head.patch_size = 16


def _contrastive(peer: Any, config: Config) -> None:
    task = config.model.tasks.contrastive
    peer.backbone = dict(type="MoCoV3ViT", patch_size=16, stop_grad_conv1=True,
                         **_backbone(config))  # fmt: skip
    width = _arch(config)["embed_dims"]
    if peer.type == "MoCo":
        hidden = task.projector.hidden_channels or width
        out = task.projector.out_channels
        peer.neck.update(
            in_channels=width, hid_channels=hidden, out_channels=out, with_avg_pool=False
        )
        peer.update(queue_len=task.head.size, feat_dim=out)
        return
    peer.neck = _mlp(task.projector, width)
    if "predictor" in task:
        out = task.projector.get("out_channels", 256)
        peer.head.predictor = _mlp(task.predictor, out, out)


@dataclass(frozen=True)
class Recipe:
    """How a method is built there.

    Attributes:
        config: its config.
        adapt: gives the config of its model the sizes of ours.
        inputs: how many views its loss takes; 0: one, not in a list.
        task: ours whose masks it gets; None: it masks itself, or does not.
        optimizer: the config whose optimizer it gets; None: its own.
    """

    config: str
    adapt: Callable[[Any, Config], None]
    inputs: int = 2
    task: str | None = None
    optimizer: str | None = None


RECIPES = {
    "mae": Recipe("mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py", _mae, 0),
    "beit": Recipe("beit/beit_beit-base-p16_8xb256-amp-coslr-300e_in1k.py", _beit, 2, "masked"),
    "cae": Recipe("cae/cae_beit-base-p16_8xb256-amp-coslr-300e_in1k.py", _cae, 2, "context"),
    "simmim": Recipe(
        "simmim/simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py", _simmim, 0, "masked"
    ),
    "mocov3": Recipe(VIT_OPTIMIZER, _contrastive),
    **{
        name: Recipe(config, _contrastive, optimizer=VIT_OPTIMIZER)
        for name, config in (
            ("simclr", "simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py"),
            ("byol", "byol/byol_resnet50_16xb256-coslr-200e_in1k.py"),
            ("simsiam", "simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py"),
            ("mocov2", "mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py"),
        )
    },
}


def _build(model: Any) -> Any:
    from mmpretrain.registry import MODELS as PEER_MODELS

    return PEER_MODELS.build(model)


def _masks(config: Config, task: str, batch_size: int) -> Tensor:
    """(B, h, w) bool, as one of our tasks masks."""
    height, width = view_sizes(config)[0]
    grid = (height // 16, width // 16)
    plan = MODELS.build(config.model.tasks[task].masking)(
        grid, batch_size, torch.Generator().manual_seed(0)
    )
    masked = MaskedPatches.of(plan)
    mask = torch.zeros(batch_size, grid[0] * grid[1], dtype=torch.bool)
    mask[masked.image, masked.patch] = True
    return mask.view(batch_size, *grid)


class PeerBench(Bench):
    """A method as mmpretrain trains it.

    Args:
        name: of the method, as ours are called.
        config: ours, whose sizes it gets.
        batch_size: images.
        device: 'cpu' or 'cuda'.
        amp: 'bf16' or 'fp32'.
        compile: whether its backbone is compiled, as ours is.
        tokenizer_width: channels of the frozen tokenizer's first group.

    Raises:
        UserError: mmpretrain is not installed, or has no such method for a plain ViT.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        batch_size: int,
        device: str = "cpu",
        amp: str = "fp32",
        compile: bool = False,
        tokenizer_width: int = 256,
    ) -> None:
        if name not in RECIPES or config.model.encoder.type != "ViT":
            raise UserError(
                f"--peer mmpretrain: there is no {name} on this encoder to compare with; plain "
                f"ViTs with {', '.join(RECIPES)} have peers."
            )
        folder, recipe = require_peer(), RECIPES[name]
        torch.manual_seed(0)
        self.name, self.batch_size = f"{SCOPE} {name}", batch_size
        self.device = torch.device(device)
        MessageHub.get_current_instance().update_info("max_iters", STEPS)
        with DefaultScope.overwrite_default_scope(SCOPE):
            peer = Config.fromfile(folder / recipe.config)
            wrapper = peer.optim_wrapper
            if recipe.optimizer is not None:
                wrapper = Config.fromfile(folder / recipe.optimizer).optim_wrapper
            self.model = self._built(peer, config, recipe, tokenizer_width)
            kept = {key: wrapper[key] for key in ("optimizer", "clip_grad", "paramwise_cfg")
                    if key in wrapper}  # fmt: skip
            self.optim_wrapper = build_optim_wrapper(
                self.model, {**kept, "type": "mmvitssl.AutocastOptimWrapper", "precision": amp}
            )
        if compile:
            self.model.backbone.compile()
        self.batch = self._data(config, recipe)

    def _built(self, peer: Config, config: Config, recipe: Recipe, width: int) -> Any:
        model = peer.model
        model.setdefault("data_preprocessor", peer.data_preprocessor)
        if "target_generator" in model:
            model.target_generator.update(n_hid=width, init_cfg=None)
        recipe.adapt(model, config)
        built = _build(model)
        built.init_weights()
        if built.target_generator is not None:  # its weights ask for gradients that they never get
            built.target_generator.requires_grad_(False)
        return revert_sync_batchnorm(built).to(self.device).train()

    def _data(self, config: Config, recipe: Recipe) -> dict[str, Any]:
        """The raw images that ours sees, in the order of colours that its files are read in."""
        from mmpretrain.structures import DataSample

        views = [view.flip(1).to(self.device) for view in synthetic_views(config, self.batch_size)]
        samples = None
        if recipe.task is not None:
            masks = _masks(config, recipe.task, self.batch_size).to(self.device)
            samples = [DataSample() for _ in masks]
            for sample, mask in zip(samples, masks, strict=True):
                sample.set_field(mask, "mask")
        return {"inputs": views[: recipe.inputs] if recipe.inputs else views[0],
                "data_samples": samples}  # fmt: skip

    def step(self) -> None:
        """One training step; momentum moves inside of it."""
        with DefaultScope.overwrite_default_scope(SCOPE):
            self.model.train_step(self.batch, self.optim_wrapper)
