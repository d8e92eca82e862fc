"""Real photographs that pip packages ship, with their sources and licences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Photograph:
    """A photograph inside an installed package.

    Attributes:
        name: a short name.
        package: where it lies.
        file: its path in there.
        author: who made it, or the institution.
        licence: under which it may be used.
        backdrop: whether scenes may be composed over it.
    """

    name: str
    package: str
    file: str
    author: str
    licence: str
    backdrop: bool = True


PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png", "NASA", "public domain"),
    Photograph("chelsea", "skimage", "data/chelsea.png", "Stefan van der Walt", "CC0 1.0"),
    Photograph("coffee", "skimage", "data/coffee.png", "Rachel Michetti", "CC0 1.0"),
    Photograph("rocket", "skimage", "data/rocket.jpg", "SpaceX", "public domain"),
    Photograph("hubble", "skimage", "data/hubble_deep_field.jpg", "NASA, ESA", "public domain"),
    Photograph("camera", "skimage", "data/camera.png", "Lav Varshney", "CC0 1.0"),
    Photograph("brick", "skimage", "data/brick.png", "CC0Textures", "CC0 1.0", backdrop=False),
    Photograph("grass", "skimage", "data/grass.png", "linolafett", "CC0 1.0", backdrop=False),
    Photograph("gravel", "skimage", "data/gravel.png", "CC0Textures", "CC0 1.0", backdrop=False),
    Photograph("china", "sklearn", "datasets/images/china.jpg", "danielbuechele", "CC BY 2.0"),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", "vultilion", "CC BY 2.0"),
)


@cache
def read_photograph(name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a photograph.

    Raises:
        KeyError: no photograph has this name.
        FileNotFoundError: the package that ships it is not installed.
    """
    photograph = {item.name: item for item in PHOTOGRAPHS}[name]
    try:
        path = files(photograph.package) / photograph.file
        with path.open("rb") as stream:
            return np.asarray(Image.open(stream).convert("RGB"))
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"The photograph '{name}' comes with the package {photograph.package}, in "
            f"{photograph.file}, which is not there: pip install 'mmvitssl[demo]'."
        ) from error
