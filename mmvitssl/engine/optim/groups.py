"""Parameter groups: one per setting, not one per parameter."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmvitssl.registry import OPTIM_WRAPPER_CONSTRUCTORS


def merged(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of equal settings as one, in the order in which the settings first appear."""
    found: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        key = tuple(sorted((name, repr(value)) for name, value in settings.items()))
        parameters = group["params"]
        listed = [parameters] if isinstance(parameters, nn.Parameter) else list(parameters)
        found.setdefault(key, {"params": [], **settings})["params"].extend(listed)
    return list(found.values())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name="DefaultOptimWrapperConstructor")
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's default constructor, with one group per learning rate and weight decay.

    MMEngine makes a group of each parameter as soon as there is a ``paramwise_cfg``: an optimizer
    then steps through hundreds of groups, each with kernels of its own. Rates and decays are the
    same. It takes the name of MMEngine's in configs of this package's scope.
    """

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: int | float | None = None,
    ) -> None:
        """See MMEngine's; the groups of the whole model are merged last."""
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:
            return
        for group in params:  # those of frozen parameters state neither
            group.setdefault("lr", self.base_lr)
            if self.base_wd is not None:
                group.setdefault("weight_decay", self.base_wd)
        params[:] = merged(params)
