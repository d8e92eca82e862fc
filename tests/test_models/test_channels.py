"""Images of one to many channels: encoders, tasks, augmentation, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmvitssl.checkpoint import load_encoder
from mmvitssl.checkpoint.safe import CheckpointError
from mmvitssl.datasets import ColorJitter, GaussianBlur, Solarize, arrays
from mmvitssl.models.algorithms import Pretrainer
from mmvitssl.models.algorithms.pretrainer import draw_pictures
from mmvitssl.models.augment import DeviceAugment
from mmvitssl.models.corruption.fills import crop_and_jitter
from mmvitssl.registry import MODELS
from tests.builders import CONTRASTIVE, RECONSTRUCTION, make_samples

VIT = dict(type="ViT", arch=dict(embed_dim=32, depth=2, num_heads=2), image_size=(32, 48),
           patch_size=8)  # fmt: skip
SWIN = dict(type="SwinTransformer", arch=dict(embed_dim=16, depths=(1, 1), num_heads=(2, 2)),
            image_size=32, window_size=4)  # fmt: skip


def build(config: dict[str, Any], **changes: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build({**config, **changes}).eval()


def mae(channels: int, **target: Any) -> dict[str, Any]:
    return dict(
        type="MaskedModeling",
        masking=dict(type="RandomMasking", ratio=0.5),
        neck=dict(type="MAEDecoder", in_channels=32, out_channels=64 * channels, width=16, depth=1,
                  num_heads=2, grid=(4, 6)),
        target=dict(type="PixelTarget", patch_size=8, **{"channels": channels, **target}),
        head=dict(type="PixelLoss", distance="l2"),
    )  # fmt: skip


def repre(channels: int) -> dict[str, Any]:
    neck = dict(RECONSTRUCTION["neck"], levels=2, out_channels=channels)  # type: ignore[call-overload]
    return dict(RECONSTRUCTION, neck=neck, levels=(0, 1))


def windows(channels: int) -> dict[str, Any]:
    task = mae(channels)
    task["masking"] = dict(type="WindowMasking", window=3, views=2, ratio=0.6)
    task["neck"] = dict(type="TokenPredictor", in_channels=32, out_channels=64 * channels)
    return task


def pretrainer(channels: int, **tasks: Any) -> Pretrainer:
    torch.manual_seed(0)
    return MODELS.build(dict(
        type="Pretrainer",
        encoder=dict(VIT, in_channels=channels, mask_token=True),
        data_preprocessor=dict(type="ViewPreprocessor", mean=(0.4,) * channels,
                               std=(0.2,) * channels),
        tasks=tasks,
    ))  # fmt: skip


def batch(channels: int, views: int = 2) -> dict[str, Any]:
    shape = (views, 4, channels, 32, 48)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    return {"views": list(pixels), "samples": make_samples()}


@pytest.mark.parametrize("channels", [1, 4])
def test_every_kind_of_task_learns_from_any_number_of_channels(channels: int) -> None:
    tasks = dict(
        masked=mae(channels), windows=windows(channels), reconstruction=repre(channels),
        contrastive=dict(CONTRASTIVE, keys="online"),
        inpainting=dict(type="Inpainting", in_channels=32, patches=6, patch_size=8,
                        image_channels=channels, modes=("mask", "noise", "other", "blur")),
    )  # fmt: skip
    for names in (("masked", "reconstruction", "contrastive"), ("windows",),
                  ("inpainting", "contrastive")):  # fmt: skip
        model = pretrainer(channels, **{name: tasks[name] for name in names})
        data = batch(channels)
        losses = model(**model.data_preprocessor(data, True), mode="loss")
        total = sum(value for name, value in losses.items() if name.startswith("loss_"))
        total.backward()  # type: ignore[union-attr]
        gradient = model.encoder.patch_embed.proj.weight.grad  # type: ignore[union-attr]
        assert torch.isfinite(total) and gradient.shape[1] == channels  # type: ignore[arg-type]
        assert (gradient.abs().amax(dim=(0, 2, 3)) > 0).all()  # every channel is read
        for pictures in draw_pictures(model, data).values():
            assert all(tuple(p.shape) == (4, 3, 32, 48) for p in pictures.values())


def test_crops_of_patches_keep_their_channels_apart() -> None:
    pixels = torch.rand(2, 3, 1, 1, 5).expand(2, 3, 8, 8, 5)
    cropped = crop_and_jitter(pixels, 0.5, 0.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(cropped, pixels)


def test_a_target_is_the_patches_of_all_channels() -> None:
    model = pretrainer(4, masked=mae(4, normalise=False))
    data = batch(4, 1)
    step = model.begin(**model.data_preprocessor(data, False))
    task: Any = model.tasks["masked"]
    _, masked = task.masks(step)
    target = task.target(step, 0, masked)
    image, patch = int(masked.image[5]), int(masked.patch[5])
    rows, columns = patch // 6 * 8, patch % 6 * 8
    cut = data["views"][0][image, :, rows : rows + 8, columns : columns + 8].float() / 255
    expected = (cut - 0.4) / 0.2
    torch.testing.assert_close(target[5].view(8, 8, 4).permute(2, 0, 1), expected)
    painted = task.target.to_pixels(target, step, 0, masked)
    torch.testing.assert_close(painted[5].view(8, 8, 4).permute(2, 0, 1), cut)


def test_parts_for_other_channels_are_refused_when_built() -> None:
    colour = dict(type="Colorization", in_channels=32, patches=4)
    grey = dict(type="Inpainting", in_channels=32, patches=4, patch_size=8, image_channels=4,
                modes=("grey",))  # fmt: skip
    cases: list[tuple[dict[str, Any], str]] = [
        (mae(3), r"target.channels=3, but the encoder gives 4"),
        (repre(3), r"neck.out_channels=3, but the encoder at levels .* gives 4"),
        (colour, "Colorization needs RGB"),
        (grey, "'grey', which needs RGB"),
    ]
    for task, words in cases:
        with pytest.raises(ValueError, match=words):
            pretrainer(4, task=task)
    with pytest.raises(ValueError, match="in_channels=4 .timm's in_chans=2."):
        build(VIT, in_channels=4, in_chans=2)
    with pytest.raises(ValueError, match="in_channels=0"):
        build(SWIN, in_channels=0)
    with pytest.raises(ValueError, match="as many means as positive deviations"):
        MODELS.build(dict(type="ViewPreprocessor", mean=(0.5,), std=(0.5, 0.5)))


def test_views_of_other_channels_are_refused() -> None:
    preprocessor = MODELS.build(dict(type="ViewPreprocessor"))
    with pytest.raises(ValueError, match="has 3 means and got a view of 4 channels"):
        preprocessor(batch(4, 1), False)
    for config in (VIT, SWIN):
        with pytest.raises(ValueError, match="reads images of 4 channels and got 3"):
            build(config, in_chans=4)(torch.zeros(1, 3, 32, 32))


def saved(model: nn.Module, folder: Path) -> Path:
    torch.save(model.state_dict(), folder / "encoder.pth")
    return folder / "encoder.pth"


@pytest.mark.parametrize("config", [VIT, SWIN], ids=["vit", "swin"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_weights_for_rgb_adapt_by_the_stated_rule(
    config: dict[str, Any], channels: int, tmp_path: Path
) -> None:
    official = build(config)
    path = saved(official, tmp_path)
    model, log = build(config, in_channels=channels), list[str]()
    load_encoder(model, path, log=log.append)
    images = torch.randn(2, channels, 32, 32)
    with torch.no_grad():
        if channels == 1:  # three equal channels are the same image
            expected = official(images.expand(-1, 3, -1, -1))
        else:
            seen = torch.zeros(2, 3, 32, 32)
            for channel in range(channels):
                seen[:, channel % 3] += images[:, channel] * 3 / channels
            expected = official(seen)
        torch.testing.assert_close(model(images).patches, expected.patches, rtol=1e-4, atol=1e-4)
    said = f"patch_embed.proj.weight from 3 channels to {channels}"
    assert (said in log[0]) == (channels != 3)


def test_weights_for_other_channels_do_not_adapt(tmp_path: Path) -> None:
    path = saved(build(VIT, in_channels=4), tmp_path)
    with pytest.raises(CheckpointError, match=r"proj.weight \(32, 4, 8, 8\) in the file"):
        load_encoder(build(VIT), path)
    load_encoder(build(VIT, in_chans=4), path)


@pytest.mark.parametrize("channels", [1, 4])
def test_device_augmentation_gives_the_pipelines_pixels(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 20, channels), dtype=np.uint8)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    samples = make_samples(3)

    def run(*transforms: Any) -> torch.Tensor:
        views = [dict(transforms=list(transforms))]
        return DeviceAugment(views)([tensor], samples)[0].permute(0, 2, 3, 1)

    def close(result: torch.Tensor, expected: list[np.ndarray], most: float) -> None:
        assert np.abs(result.numpy() - np.stack(expected)).max() <= most

    close(run(ColorJitter(brightness=(0.7, 0.7))),
          [arrays.adjust_brightness(image, 0.7) for image in images], 1)  # fmt: skip
    close(run(ColorJitter(contrast=(0.7, 0.7))),
          [arrays.adjust_contrast(image, 0.7) for image in images], 1)  # fmt: skip
    close(run(Solarize()), [arrays.solarize(image, 128) for image in images], 0)
    close(run(GaussianBlur(sigma=(1.5, 1.5))),
          [arrays.gaussian_blur(image, 1.5) for image in images], 1)  # fmt: skip
    for transform in (dict(type="ColorJitter", saturation=0.3), dict(type="ColorJitter", hue=0.1),
                      dict(type="RandomGrayscale", p=1.0)):  # fmt: skip
        if channels == 1:
            close(run(transform), list(images), 0)
        else:
            with pytest.raises(ValueError, match="needs RGB images.*4 channels"):
                run(transform)
