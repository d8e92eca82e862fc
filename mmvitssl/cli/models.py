"""List the shipped configs, with the numbers that their papers publish."""

from __future__ import annotations

import argparse

from mmvitssl.apis.recipes import list_recipes
from mmvitssl.engine.launch import UserError


def main() -> None:
    """List as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="part of the name")
    pattern = parser.parse_args().pattern
    recipes = list_recipes(pattern)
    if not recipes:
        raise UserError(f"No shipped config has '{pattern}' in its name.")
    for recipe in recipes:
        print(f"{recipe.name}\n    {recipe.summary}" if recipe.summary else recipe.name)
