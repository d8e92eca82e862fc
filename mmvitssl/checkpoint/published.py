"""Published weights by name: address, licence, format, and what is published of their SHA-256."""

from __future__ import annotations

from dataclasses import dataclass

MMASSETS = "https://mmassets.onedl.ai/mmselfsup/1.x/"
FAIR = "https://dl.fbaipublicfiles.com/"
SWIN = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"


@dataclass(frozen=True)
class Published:
    """A file that its authors publish.

    Attributes:
        name: as ``--from``, ``--init`` and ``--pretrained`` take it.
        url: address.
        licence: of the weights.
        format: see :data:`~mmvitssl.checkpoint.formats.FORMATS`.
        sha256: the digest, or its first digits where only these are published; empty: nothing is.
        md5: the same of the MD5 sum, where the authors publish that (MAE's README does).
    """

    name: str
    url: str
    licence: str
    format: str
    sha256: str = ""
    md5: str = ""


def _mm(name: str, folder: str, file: str, format: str) -> Published:
    """Of OpenMMLab, whose file names end with the first eight digits of the digest."""
    return Published(
        name, f"{MMASSETS}{folder}/{file}.pth", "Apache-2.0", format, file.rpartition("-")[2]
    )


def _mae(size: str, epochs: int, file: str) -> Published:
    stem = f"mae_vit-{size}-p16_8xb512-fp16-coslr-{epochs}e_in1k"
    return _mm(f"mae-vit-{size}-{epochs}e", f"mae/{stem}", file, "mmpretrain-mae")


def _fair(
    name: str, path: str, licence: str, format: str, sha256: str = "", md5: str = ""
) -> Published:
    return Published(name, FAIR + path, licence, format, sha256, md5)


NC = "CC-BY-NC-4.0"
# DINOv2's authors publish no sums; these are what projects state independently of each other that
# pin the files, such as finegrain-ai/refiners (scripts/conversion)
DINOV2 = {
    "s": "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    "b": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    "l": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
}
PUBLISHED: dict[str, Published] = {
    each.name: each
    for each in (
        _mae("base", 300, "mae_vit-base-p16_8xb512-coslr-300e-fp16_in1k_20220829-c2cf66ba"),
        _mae("base", 400, "mae_vit-base-p16_8xb512-coslr-400e-fp16_in1k_20220825-bc79e40b"),
        _mae("base", 800, "mae_vit-base-p16_8xb512-coslr-800e-fp16_in1k_20220825-5d81fbc4"),
        _mae("base", 1600, "mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k_20220825-f7569ca2"),
        _mae("large", 400, "mae_vit-large-p16_8xb512-fp16-coslr-400e_in1k_20220825-b11d0425"),
        _mae("large", 800, "mae_vit-large-p16_8xb512-fp16-coslr-800e_in1k_20220825-df72726a"),
        _mae("large", 1600, "mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k_20220825-cc7e98c9"),
        _mm("beit-vit-base-300e", "beit/beit_vit-base-p16_8xb256-amp-coslr-300e_in1k",
            "beit_vit-base-p16_8xb256-amp-coslr-300e_in1k_20221128-ab79e626", "mmpretrain-beit"),
        _mm("cae-vit-base-300e", "cae/cae_vit-base-p16_8xb256-amp-coslr-300e_in1k",
            "cae_vit-base-p16_8xb256-amp-coslr-300e_in1k_20221230-808170f3", "mmpretrain-cae"),
        _fair("mae-vit-base", "mae/pretrain/mae_pretrain_vit_base.pth", NC, "timm",
              md5="8cad7c"),
        _fair("mae-vit-large", "mae/pretrain/mae_pretrain_vit_large.pth", NC, "timm",
              md5="b8b06e"),
        _fair("mae-vit-huge", "mae/pretrain/mae_pretrain_vit_huge.pth", NC, "timm",
              md5="9bdbb0"),
        _fair("mocov3-vit-small", "moco-v3/vit-s-300ep/vit-s-300ep.pth.tar", NC, "mocov3"),
        _fair("mocov3-vit-base", "moco-v3/vit-b-300ep/vit-b-300ep.pth.tar", NC, "mocov3"),
        _fair("dino-vit-small", "dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
              "Apache-2.0", "timm"),
        _fair("dino-vit-base", "dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
              "Apache-2.0", "timm"),
        _fair("dinov2-vit-small", "dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
              "Apache-2.0", "dinov2", DINOV2["s"]),
        _fair("dinov2-vit-base", "dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
              "Apache-2.0", "dinov2", DINOV2["b"]),
        _fair("dinov2-vit-large", "dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
              "Apache-2.0", "dinov2", DINOV2["l"]),
        _fair("deit-vit-base", "deit/deit_base_patch16_224-b5f2ef4d.pth", "Apache-2.0", "timm",
              "b5f2ef4d"),
        Published("swin-tiny", f"{SWIN}swin_tiny_patch4_window7_224.pth", "MIT", "swin"),
        Published("swin-small", f"{SWIN}swin_small_patch4_window7_224.pth", "MIT", "swin"),
        Published("swin-base", f"{SWIN}swin_base_patch4_window7_224.pth", "MIT", "swin"),
    )
}  # fmt: skip
