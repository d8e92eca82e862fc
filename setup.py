"""Packaging of mmvitssl; exact versions for a reproducible set-up are in requirements/."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
CONFIGS = [str(path.relative_to(ROOT / "mmvitssl")) for path in
           (ROOT / "mmvitssl" / ".mim" / "configs").rglob("*.py")]

setup(
    name="mmvitssl",
    version="0.1.0",
    description="Pretrain Vision Transformers without labels; use them in detection and "
    "segmentation the same day",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["mmvitssl", "mmvitssl.*"]),
    package_data={"mmvitssl": [*CONFIGS, ".mim/model-index.yml"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "timm>=1.0.20,<2",
        "onedl-mmengine>=0.10.8",
        "numpy>=1.26",
        "scipy>=1.11",
        "pillow>=10",
        "rich>=13",
        "tensorboard>=2.14",
        "matplotlib>=3.8",
        "safetensors>=0.4",
    ],
    extras_require={
        "transfer": [
            "onedl-mmcv>=2.3.6",
            "onedl-mmdetection>=3.5.1",
            "onedl-mmsegmentation>=1.4.2",
            "pycocotools>=2.0.7",
        ],
        "lmdb": ["lmdb>=1.4"],
        "demo": ["scikit-image>=0.22", "scikit-learn>=1.4", "pycocotools>=2.0.7"],
        "dev": ["pytest>=8", "pytest-timeout", "hypothesis>=6", "ruff>=0.6", "mypy>=1.11"],
        "bench": ["onedl-mmpretrain>=1.3.6"],
        "docs": ["mkdocs>=1.6"],
        "export": ["onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"],
    },
)
