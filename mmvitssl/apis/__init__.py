"""What a notebook calls: pretrain, load, embed, probe, transfer ..., three lines each.

Functions are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmvitssl.apis.dense_transfer import Transferred, transfer
    from mmvitssl.apis.embedding import Embeddings, ImageModel, embed, load
    from mmvitssl.apis.pictures import reconstruct
    from mmvitssl.apis.pretraining import Pretrained, pretrain
    from mmvitssl.apis.probing import probe
    from mmvitssl.apis.recipes import Recipe
    from mmvitssl.apis.recipes import list_recipes as list_models

PLACES = {
    "Embeddings": ("embedding", "Embeddings"),
    "ImageModel": ("embedding", "ImageModel"),
    "Pretrained": ("pretraining", "Pretrained"),
    "Recipe": ("recipes", "Recipe"),
    "Transferred": ("dense_transfer", "Transferred"),
    "embed": ("embedding", "embed"),
    "list_models": ("recipes", "list_recipes"),
    "load": ("embedding", "load"),
    "pretrain": ("pretraining", "pretrain"),
    "probe": ("probing", "probe"),
    "reconstruct": ("pictures", "reconstruct"),
    "transfer": ("dense_transfer", "transfer"),
}

__all__ = ["Embeddings", "ImageModel", "Pretrained", "Recipe", "Transferred", "embed",
           "list_models", "load", "pretrain", "probe", "reconstruct", "transfer"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
