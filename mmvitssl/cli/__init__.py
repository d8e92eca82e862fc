"""The program ``mmvitssl``: one command per module, imported when it is asked for."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

import mmvitssl

# name: (module with a `main()` that reads sys.argv, what it does)
COMMANDS = {
    "pretrain": ("pretrain", "pretrain on your images; everything not stated is chosen"),
    "train": ("train", "train from a config: pretraining, probes, detection, segmentation"),
    "test": ("test", "evaluate a checkpoint of a whole model"),
    "probe": ("probe", "linear or attentive probe, or fine-tuning, on labelled images"),
    "knn": ("knn", "nearest neighbours on features: of a labelled folder, or of a config"),
    "embed": ("embed", "write one vector per image"),
    "transfer": ("transfer", "train Mask R-CNN or UperNet on a pretrained encoder"),
    "checkpoint": ("checkpoint", "inspect, import and export checkpoints"),
    "visualize": ("visualize", "pictures: reconstructions, attention, embeddings, curves"),
    "browse": ("browse", "pictures of a config's views, masks, windows and corruptions"),
    "report": ("report", "compare runs: metrics, settings that differ, curves"),
    "config": ("config", "print a config with all it inherits, and where values come from"),
    "summary": ("summary", "parameters, FLOPs and memory of a config's model, by part and task"),
    "models": ("models", "list the shipped configs, with published and own numbers"),
    "replay": ("replay", "repeat the step that a training with NaN ended with"),
    "doctor": ("doctor", "check the installation, the machine and a config's data"),
}


def usage() -> str:
    """The help of the program."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: mmvitssl COMMAND ...", "", "Commands (mmvitssl COMMAND --help says more):",
         *lines, "", "  --version, --help"]
    )  # fmt: skip


def main() -> None:
    """Run a command; what a user can mend ends in one paragraph and exit status 2."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(mmvitssl.__version__)
        return
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        print(f"error: mmvitssl has no command '{name}': {hint}It has {', '.join(COMMANDS)}.",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)
    sys.argv = [f"mmvitssl {name}", *arguments[1:]]
    from mmvitssl.engine.launch import run_or_explain

    run_or_explain(import_module(f"mmvitssl.cli.{COMMANDS[name][0]}").main)
