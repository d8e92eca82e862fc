"""Encoders, tasks and what they are made of; importing this registers all of them."""

from mmvitssl.models import (
    algorithms,
    augment,
    backbones,
    balancers,
    data_preprocessor,
    heads,
    masking,
    necks,
    targets,
    tasks,
    tokenizers,
)

__all__ = [
    "algorithms",
    "augment",
    "backbones",
    "balancers",
    "data_preprocessor",
    "heads",
    "masking",
    "necks",
    "targets",
    "tasks",
    "tokenizers",
]
