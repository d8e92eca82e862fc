"""Backbones, tasks and what they are made of; ``MODELS`` imports and registers them when asked."""
