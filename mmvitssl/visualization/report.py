"""One HTML file that a person can open anywhere: texts, tables, pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mmvitssl.writing import write_text

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1f24; background: #fff; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d8dee4; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .35rem .9rem; border-bottom: 1px solid #d8dee4; text-align: right; }
th:first-child, td:first-child { text-align: left; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: 13px; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; }
figure img { max-width: 100%; border: 1px solid #d8dee4; }
figcaption { font-size: 14px; color: #57606a; max-width: 36rem; }
"""


class Report:
    """Collects sections and writes them with the pictures embedded.

    Args:
        title: of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def section(self, heading: str, text: str = "") -> None:
        """Start a section; the text is plain."""
        self._parts.append(f"<h2>{escape(heading)}</h2>")
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        """Add a plain paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table; the first column is left-aligned."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        lines = [
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        ]
        self._parts.append(f"<table><tr>{head}</tr>{''.join(lines)}</table>")

    def picture(self, picture: bytes | Path, caption: str, width: int | None = None) -> None:
        """Add a PNG or JPEG, given as bytes of a PNG or as a path.

        Raises:
            FileNotFoundError: there is no such picture.
        """
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
        encoded = base64.b64encode(data).decode()
        size = f' width="{width}"' if width else ""
        self._parts.append(
            f'<figure><img{size} alt="{escape(caption)}" src="data:image/{kind};base64,{encoded}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def code(self, lines: Sequence[str]) -> None:
        """Add lines of a shell."""
        self._parts.append(f"<pre>{escape(chr(10).join(lines))}</pre>")

    def write(self, path: str | Path) -> Path:
        """Write the page."""
        path = Path(path)
        body = "\n".join(self._parts)
        write_text(
            path,
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style></head>\n"
            f"<body><h1>{escape(self.title)}</h1>\n{body}\n</body></html>\n",
            errors="backslashreplace",  # names of files need not be text
        )
        return path
