"""What is trained: the pretraining algorithm, and a classifier for probes and fine-tuning."""

from mmvitssl.models.algorithms.classifier import ImageClassifier
from mmvitssl.models.algorithms.mixing import BatchAugment
from mmvitssl.models.algorithms.pretrainer import Pretrainer

__all__ = ["BatchAugment", "ImageClassifier", "Pretrainer"]
