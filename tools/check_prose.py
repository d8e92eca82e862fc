#!/usr/bin/env python
"""Report long sentences and odd words of documentation pages, and docstrings that start oddly."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_WORDS = 25
PLACES = ["README.md", "CONTRIBUTING.md", "docs", "mmvitssl"]
# words between a number and "a file" that make "1 of a file" English
JOINING = (
    "about|above|after|against|and|as|at|before|below|beside|between|by|for|from|has|holds|in|"
    "inside|into|is|of|on|or|outside|over|than|to|under|was|with|within|without"
)
# pattern: what to write in its place; words that readers of English do not expect there
ODD = {
    r"\bgives back\b": "returns",
    r"\b(?:is|are|was|were) told\b": "logged, reported or passed",
    r"\bbehind (?:the|each|every|its|all)\b(?! (?:mask|number|row))": "after",
    r"\btakes? (?:it|them) up\b": "resumes",
    rf"\b(?:one|two|a|an|\d+) (?!(?:{JOINING})\b)[\w-]+ an? (?:image|patch|row|line|step|file|"
    r"process|run|core|block|token|channel|class|level|view|task|metric|epoch|second|window|sample|"
    r"picture|tensor|GPU|side|shard)\b": "per",
    r"\bcosts? nothing\b": "is free, with a number",
    r"\bforetell\w*\b": "predict",
    r"\bhalf a dozen\b": "six",
    r"\bin turn each\b": "in turn",
    r"\bwhat there is\b": "what exists",
    r"\bby and by\b": "gradually",
    r"\bthe like\b": "and similar",
    r"\bhowsoever\b|\btherewith\b|\bthereof\b|\bherein\b|\bwherein\b": "plain words",
}
FENCE = re.compile(r"^(```|~~~)")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`*\[])")


@dataclass(frozen=True)
class Finding:
    """One thing to rewrite.

    Attributes:
        path, line: where.
        kind: 'long' or 'odd'.
        text: what it is.
    """

    path: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.text}"


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of each paragraph or list item of a page; no code, tables or headings."""
    inside, start, lines = False, 0, []  # type: ignore[var-annotated]
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if FENCE.match(line.strip()):
            inside = not inside
            line = ""
        stripped = line.strip()
        ends = not stripped or stripped.startswith(("#", "|", "<!--", "![", "---"))
        item = re.match(r"^(?:[-*+]|\d+\.)\s+", stripped)
        if (ends or item or inside) and lines:
            yield start, " ".join(lines)
            lines = []
        if not ends and not inside:
            if not lines:
                start = number
            lines.append(stripped[item.end() :] if item else stripped)


def plain(text: str) -> str:
    """Text without code, links' addresses and emphasis; code counts as one word."""
    text = re.sub(r"`+[^`]*`+", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\([^()]*\)", "", text)  # asides do not break the thread
    return re.sub(r"(?<!\w)[*_]{1,2}(\S.*?\S|\S)[*_]{1,2}(?!\w)", r"\1", text)


def check(path: Path, text: str) -> Iterator[Finding]:
    """Findings of one page of Markdown."""
    for line, paragraph in paragraphs(text):
        words = plain(paragraph)
        for sentence in SENTENCE.split(words):
            # a colon or semicolon ends a thought
            for part in re.split(r"[;:]\s", sentence):
                number = sum(bool(re.search(r"\w", word)) for word in part.split())
                if number > MOST_WORDS:
                    yield Finding(path, line, "long", f"{number} words: {part.strip()}")
        for pattern, better in ODD.items():
            for match in re.finditer(pattern, words, re.IGNORECASE):
                yield Finding(path, line, "odd", f"'{match[0]}': write {better}")


def check_docstrings(path: Path, text: str) -> Iterator[Finding]:
    """Odd words in the docstrings of a module; names and code in backticks do not count."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        words = plain(ast.get_docstring(node) or "")
        for pattern, better in ODD.items():
            for match in re.finditer(pattern, words, re.IGNORECASE):
                line = node.body[0].lineno + words.count("\n", 0, match.start())
                yield Finding(path, line, "odd", f"'{match[0]}': write {better}")


def find(root: Path, folders: list[str]) -> list[Finding]:
    """Findings of all pages and modules below the folders."""
    findings: list[Finding] = []
    for folder in folders:
        place = root / folder
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in files:
            name = path.relative_to(root)
            if path.suffix == ".md":
                findings += check(name, path.read_text(encoding="utf-8"))
            elif path.suffix == ".py":
                findings += check_docstrings(name, path.read_text(encoding="utf-8"))
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", default=PLACES, help="pages, modules and folders")
    parser.add_argument("--quiet", action="store_true", help="only the counts per file")
    args = parser.parse_args()
    findings = find(Path(__file__).resolve().parents[1], args.places)
    counts: dict[tuple[Path, str], int] = {}
    for finding in findings:
        counts[finding.path, finding.kind] = counts.get((finding.path, finding.kind), 0) + 1
        if not args.quiet:
            print(finding)
    for (path, kind), number in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{number:4d} {kind} {path}")
    print(f"{len(findings)} findings: sentences of more than {MOST_WORDS} words, odd words")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
