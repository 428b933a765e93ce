"""A report as tests read it: headings, tables by their ids, facts by their names, links, and what the walk is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "path", "line", "circle", "rect", "br"}


@dataclass
class Page(HTMLParser):
    """What one page says. tables: id -> rows of the body, cells as text."""

    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    headings: list[tuple[str, str]] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    data: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._rows: list[list[str]] | None = None
        self._cell: list[str] | None = None
        self._script = ""
        self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if "href" in values:
            self.links.append(str(values["href"]))
        if tag == "table":
            self.tables[str(values.get("id"))] = self._rows = []
        if tag == "tbody" and self._rows is not None:
            self._rows.clear()
        if tag == "tr" and self._rows is not None:
            self._rows.append([])
        if tag in ("td", "th", "dt", "dd", "h1", "h2", "h3", "h4"):
            self._cell = []
        if tag == "script":
            self._script = str(values.get("id", "code"))
        if tag == "style":
            self._script = "style"

    def handle_endtag(self, tag: str) -> None:
        said = " ".join("".join(self._cell or ()).split())
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append(said)
        if tag == "dt":
            self._term = said
        if tag == "dd":
            self.pairs.append((self._term, said))
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((tag, said))
        if tag == "table":
            self._rows = None
        if tag in ("script", "style"):
            self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script == "kin":
            self.data += data
        if self._script:
            return
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def table(self, name: str) -> list[list[str]]:
        return self.tables[name]

    def fact(self, name: str) -> str:
        return next(value for term, value in reversed(self.pairs) if term == name)

    def walk(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.data)
        return found


def page_of(html: bytes) -> Page:
    """Returns what a page says."""
    page = Page()
    page.feed(html.decode())
    page.close()
    return page
