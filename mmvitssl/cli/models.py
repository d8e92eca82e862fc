"""List the shipped configs with published and own numbers, or the weights that have a name."""

from __future__ import annotations

import argparse

from mmvitssl.apis.recipes import list_recipes
from mmvitssl.checkpoint.published import PUBLISHED
from mmvitssl.engine.launch import UserError


def list_weights(pattern: str) -> None:
    """Print name, licence, format and address of published weights."""
    found = [each for name, each in PUBLISHED.items() if pattern.lower() in name]
    if not found:
        raise UserError(f"No published weights have '{pattern}' in their name.")
    for each in found:
        md5 = f"MD5 {each.md5}..." if each.md5 else "no sum is published"
        digest = f"SHA-256 {each.sha256}" if each.sha256 else md5
        print(f"{each.name}\n    {each.format}, {each.licence}, {digest}\n    {each.url}")


def main() -> None:
    """List as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="part of the name")
    parser.add_argument(
        "--weights", action="store_true",
        help="published weights that --from, --init and --pretrained take by name",
    )  # fmt: skip
    args = parser.parse_args()
    pattern = args.pattern
    if args.weights:
        list_weights(pattern)
        return
    recipes = list_recipes(pattern)
    if not recipes:
        raise UserError(f"No shipped config has '{pattern}' in its name.")
    for recipe in recipes:
        print(f"{recipe.name}\n    {recipe.summary}" if recipe.summary else recipe.name)
        for line in recipe.results:
            print(f"    {line}")
