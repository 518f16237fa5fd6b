"""A hook of the docs site: links that lead out of docs/ are no pages of it.

In the repository ``[code](../audit/data/manifest.py)`` opens the file. The site has no such file:
there the link leads to the code host if ``repo_url`` in mkdocs.yml names one, else it is the path.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Called by MkDocs with each page before it is rendered."""
    here = posixpath.dirname(f"docs/{page.file.src_uri}")

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(here, link["target"]))
        text = link["text"]
        if path.startswith("docs/"):
            return link[0]
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path})"
        return text if path in text or text in path else f"{text} (`{path}`)"

    return _LINK.sub(led, markdown)
