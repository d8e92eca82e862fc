"""Discrete tokenizers of images: DALL-E's, and one that is trained here."""

from mmvitssl.models.tokenizers.base import Tokenizer
from mmvitssl.models.tokenizers.dalle import DalleTokenizer
from mmvitssl.models.tokenizers.dvae import DiscreteVAE
from mmvitssl.models.tokenizers.file import load_tokenizer, save_tokenizer

__all__ = ["DalleTokenizer", "DiscreteVAE", "Tokenizer", "load_tokenizer", "save_tokenizer"]
