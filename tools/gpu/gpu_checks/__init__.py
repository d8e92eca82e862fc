"""Checks that run on any device: what a GPU must agree on with the CPU, and what must work there.

A check is a function that measures something and returns it in words. It raises
``AssertionError`` where the result is wrong and :class:`~gpu_checks.report.Skip` where there is
nothing to check. ``tools/gpu/check.py`` and ``tests/test_gpu/`` call the same functions.
"""
