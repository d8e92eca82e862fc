"""Fenced code blocks of the documentation, and what the comment before each says about running it.

Directly before a block may stand one of

- ``<!-- not run: REASON -->``: the block is left out, for this reason;
- ``<!-- run with: CONFIG=configs/... NAME=... -->``: values of the block's placeholders;
- ``<!-- run as: package/module.py -->``: the file that a Python block is written to.

Blocks without a comment run too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHELLS = ("bash", "shell", "sh", "console")
PYTHONS = ("python", "py")
OTHERS = ("text",)  # output and drawings: nothing to run
COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
KINDS = ("not run", "run with", "run as")


class DocsError(ValueError):
    """Something in a page that keeps it from being tested."""


@dataclass(frozen=True)
class Block:
    """One fenced block that holds commands or Python.

    Attributes:
        page: the Markdown file, relative to the repository root.
        number: of the block among those of the page that hold code, from 1.
        line: of the opening fence, from 1.
        language: ``bash`` or ``python``.
        text: what is between the fences, without their indentation.
        excuse: why it is not run; None: it is.
        values: of placeholders.
        file: that a Python block is written to.
    """

    page: str
    number: int
    line: int
    language: str
    text: str
    excuse: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    file: str | None = None

    @property
    def id(self) -> str:
        return f"{self.page}#{self.number}"


def _comment(lines: list[str], where: str) -> tuple[str, str]:
    """Kind and text of the comment that ends right above a fence; ("", "") where there is none."""
    above = "\n".join(lines).rstrip()
    if not above.endswith("-->"):
        return "", ""
    content = above[above.rindex("<!--") + 4 : -3].strip()
    kind, colon, text = content.partition(":")
    kind, text = kind.strip(), " ".join(text.split())
    if kind in KINDS and colon and text:
        return kind, text
    if re.match(r"(not[ -]|don'?t )?(run|skip|execut|test)", content, re.IGNORECASE):
        raise DocsError(
            f"{where}: the comment '{content}' is none of '<!-- not run: REASON -->', '<!-- run "
            f"with: NAME=VALUE ... -->', '<!-- run as: FILE -->'."
        )
    return "", ""


def _values(text: str, where: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in shlex.split(text)]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise DocsError(f"{where}: '<!-- run with: {text} -->' is not NAME=VALUE ...")
    return {name: value for name, _, value in pairs}


def _fences(lines: list[str], page: str) -> Iterator[tuple[int, int, str]]:
    """Opening line, closing line (zero-based) and language of each fenced block."""
    start, mark, language = None, "", ""
    for index, line in enumerate(lines):
        match = re.match(r"\s*(`{3,}|~{3,})\s*([^\s`]*)", line)
        if match is None:
            continue
        if start is None:
            start, mark, language = index, match[1], match[2].lower()
        elif match[1].startswith(mark) and not match[2]:
            yield start, index, language
            start = None
    if start is not None:
        raise DocsError(f"{page}:{start + 1}: the block is not closed.")


def read_blocks(page: str, content: str) -> list[Block]:
    """All blocks of a page that hold commands or Python.

    Raises:
        DocsError: a block that states no language, or one that is unknown here, a comment that
            only nearly states something, or a block that is not closed.
    """
    lines = content.splitlines()
    blocks: list[Block] = []
    for start, end, language in _fences(lines, page):
        where = f"{page}:{start + 1}"
        kind, text = _comment(lines[:start], where)
        if language in OTHERS:
            continue
        if language not in SHELLS + PYTHONS:
            known = ", ".join((*SHELLS, *PYTHONS, *OTHERS))
            raise DocsError(f"{where}: the block's language '{language}' is none of {known}.")
        indent = len(lines[start]) - len(lines[start].lstrip())
        blocks.append(
            Block(
                page=page,
                number=len(blocks) + 1,
                line=start + 1,
                language="bash" if language in SHELLS else "python",
                text="\n".join(line[indent:] for line in lines[start + 1 : end]) + "\n",
                excuse=text if kind == "not run" else None,
                values=_values(text, where) if kind == "run with" else {},
                file=text if kind == "run as" else None,
            )
        )
    return blocks


def read_pages(root: Path) -> list[Block]:
    """The blocks of ``README.md`` and of all pages in ``docs/``, in the order of their names."""
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [
        block
        for path in pages
        for block in read_blocks(str(path.relative_to(root)), path.read_text())
    ]


def commands(text: str) -> list[list[str]]:
    """The words of each command of a block; comments are left out, continued lines joined.

    Raises:
        DocsError: a pipe, loop or redirection, which would need a shell.
    """
    result = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = list(lexer)
        wrong = [word for word in words if word and set(word) <= set("|&;<>")]
        if wrong or (words and words[0] in ("for", "while", "if", "do", "done", "fi")):
            raise DocsError(f"'{line.strip()}' needs a shell; write one plain command per line.")
        if words:
            result.append(words)
    return result


def summary(root: Path, passed: int, failed: int) -> str:
    """How many blocks ran in this session, how many run only with the long tests, and excuses."""
    blocks = read_pages(root)
    excused = [block for block in blocks if block.excuse is not None]
    later = len(blocks) - len(excused) - passed - failed
    counts = (
        f"{len(blocks)} blocks: {passed + failed} ran ({failed} failed), {later} others run in "
    )
    counts += f"make test-all, {len(excused)} are not run:"
    return "\n".join([counts, *(f"  {block.id}: {block.excuse}" for block in excused)])
