"""What a notebook calls: pretrain, load, embed, reconstruct, list_models, three lines each.

Functions are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmvitssl.apis.embedding import Embeddings, ImageModel, embed, load
    from mmvitssl.apis.pictures import reconstruct
    from mmvitssl.apis.pretraining import Pretrained, pretrain
    from mmvitssl.apis.recipes import Recipe
    from mmvitssl.apis.recipes import list_recipes as list_models

PLACES = {
    "Embeddings": ("embedding", "Embeddings"),
    "ImageModel": ("embedding", "ImageModel"),
    "Pretrained": ("pretraining", "Pretrained"),
    "Recipe": ("recipes", "Recipe"),
    "embed": ("embedding", "embed"),
    "list_models": ("recipes", "list_recipes"),
    "load": ("embedding", "load"),
    "pretrain": ("pretraining", "pretrain"),
    "reconstruct": ("pictures", "reconstruct"),
}

__all__ = ["Embeddings", "ImageModel", "Pretrained", "Recipe", "embed", "list_models", "load",
           "pretrain", "reconstruct"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
