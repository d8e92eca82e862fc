"""All registered models: importing this module registers them."""

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
