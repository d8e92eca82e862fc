"""Predictions straight from the encoder's tokens."""

from __future__ import annotations

from torch import Tensor, nn

from mmvitssl.models.backbones.initialisation import cut_normal, xavier_linears
from mmvitssl.registry import MODELS
from mmvitssl.structures import Encoded, MaskedPatches

INITIALISATIONS = ("xavier", "cut_normal", "torch")


@MODELS.register_module()
class TokenPredictor(nn.Module):
    """Linear layer or MLP on the masked tokens that went through the encoder (LoMaR, BEiT, SimMIM).

    Args:
        in_channels: the encoder's width.
        out_channels: values per patch: 3 * patch_size^2 for pixels, the vocabulary for ids.
        layers: linear layers; 1 is the published head, more are an MLP with GELU.
        hidden: width between layers; None: ``in_channels``.
        initialisation: 'xavier' (LoMaR, MAE), 'cut_normal' (BEiT) or PyTorch's own, 'torch'
            (SimMIM).

    Raises:
        ValueError: no layers, or an unknown initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layers: int = 1,
        hidden: int | None = None,
        initialisation: str = "xavier",
    ) -> None:
        super().__init__()
        if layers < 1 or initialisation not in INITIALISATIONS:
            raise ValueError(
                f"TokenPredictor needs layers >= 1 and an initialisation of {INITIALISATIONS}; got "
                f"{layers} and '{initialisation}'."
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        widths = [in_channels, *[hidden or in_channels] * (layers - 1), out_channels]
        parts: list[nn.Module] = []
        for i in range(layers):
            parts += [nn.Linear(widths[i], widths[i + 1]), nn.GELU()]
        self.layers = nn.Sequential(*parts[:-1])
        if initialisation != "torch":
            xavier_linears(self)
        if initialisation == "cut_normal":
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    cut_normal(layer.weight)

    def forward(self, encoded: Encoded, masked: MaskedPatches) -> Tensor:
        """Predictions of the T masked patches, (T, out_channels).

        Raises:
            ValueError: masked patches did not go through the encoder.
        """
        if masked.slot is None:
            raise ValueError(
                "TokenPredictor reads masked tokens, which this masking drops: set its "
                "mode='replace', or use a decoder."
            )
        return self.layers(encoded.patches.flatten(0, 1)[masked.slot])
