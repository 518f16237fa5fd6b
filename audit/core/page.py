"""Text as Markdown, and Markdown as a report's page: one file, no scripts, nothing to fetch."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from audit.core.characters import visible
from audit.core.rows import Row
from audit.core.verdicts import JUDGED, Verdict


class _Marks(dict[str, tuple[str, str]]):
    """Signs and styles of verdicts; of one that is not judged, or unknown, a dash."""

    def __missing__(self, verdict: str) -> tuple[str, str]:
        return "–", Verdict.INCONCLUSIVE.style


#: sign and style of each verdict: they differ in shape, not in colour alone
MARKS: Final = _Marks({str(v): (v.sign, v.style) for v in (*JUDGED, Verdict.SEEN)})
#: the heading of a report's last part, which leaves paper out
EVIDENCE: Final = "Evidence: the rows behind the numbers"
BLANK: Final = "☐ to be filled in by the auditor"


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    @classmethod
    def beside(cls, module: str) -> Self:
        """What the Markdown file says that lies beside a module and has its name."""
        return cls(Path(module).with_suffix(".md").read_text(encoding="utf-8").removesuffix("\n"))


def escaped(text: str) -> Markdown:
    """Text as Markdown that shows exactly this text, on one line."""
    line = _line(text)
    line = re.sub(r"([\\`*\[\]<>|&~])", r"\\\1", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    line = re.sub(r"^([-+=#:!])", r"\\\1", line)
    return Markdown(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line))


def as_html(text: str) -> str:
    """Text as HTML that shows exactly this text, on one line."""
    return escapeHtml(_line(text))


def _line(text: str) -> str:
    return re.sub(r"[^\S\u00a0]+", " ", visible(text))


def code(text: object, in_table: bool = False) -> Markdown:
    """Text as a code span, whatever it holds; a bar would end the cell of a table."""
    line = re.sub(r"\s+", " ", visible(str(text)))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    span = f"{fence}{pad}{line}{pad}{fence}"
    return Markdown(span.replace("|", r"\|") if in_table else span)


def to_html(
    text: str,
    pictures: Mapping[str, bytes],
    mark: str = "",
    last: str = "",
    placed: Mapping[str, str] | None = None,
) -> str:
    """One page from a report's Markdown, with pictures inside and nothing to fetch.

    Raw HTML in the text stays text. Fourth-level headings fold what is under them, and
    fifth-level ones on screens only: paper shows it. ``mark`` stays
    in sight, and stands on every printed page. ``last`` is HTML and ends the page. ``placed``: HTML
    by the name of the ``place`` where it stands.
    """
    parser = _parser(pictures, placed or {})
    tokens = parser.parse(text)
    contents = _number_sections(tokens)
    body = parser.renderer.render(_folded(tokens), parser.options, {})
    title = next((tokens[i + 1].content for i, t in enumerate(tokens) if t.tag == "h1"), "Report")
    plain = re.sub(r"\\(.)", r"\1", title)
    page = shell()
    shown = f'<p class="mark">⚠ {html.escape(mark)}</p>\n' if mark else ""
    parts = {"TITLE": html.escape(plain), "CONTENTS": contents, "BODY": shown + body + last}
    return re.sub(r"\{\{(TITLE|CONTENTS|BODY)\}\}", lambda m: parts[m[1]], page)


def place(name: str) -> str:
    """Markdown in whose place a page has HTML of its own (``to_html``)."""
    return f"```{_PLACED}{name}\n```"


_PLACED: Final = "placed:"


def fragment(text: str) -> str:
    """Markdown as a piece of a page; it shows no picture."""
    return str(_parser({}, {}).render(text))


def _parser(pictures: Mapping[str, bytes], placed: Mapping[str, str]) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    rules: Row = parser.renderer.rules  # type: ignore[attr-defined]
    rules |= {
        "image": partial(_image, pictures),
        "fence": partial(_fence, placed),
        "strong_open": _strong,
        "link_open": _link,
        "table_open": _before_table,
        "table_close": _after_table,
    }
    return parser


def _fence(
    placed: Mapping[str, str], tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
) -> str:
    """Lines of code, or what stands in their place."""
    name = tokens[at].info.strip().removeprefix(_PLACED)
    if name in placed:
        return placed[name]
    return f"<pre><code>{escapeHtml(tokens[at].content)}</code></pre>\n"


def as_text(text: str) -> str:
    """The page where the text can't be set as Markdown: the text as it is."""
    parts = {"TITLE": "Report", "CONTENTS": "", "BODY": f"<pre>{html.escape(text)}</pre>"}
    return re.sub(r"\{\{(TITLE|CONTENTS|BODY)\}\}", lambda m: parts[m[1]], shell())


def _number_sections(tokens: Sequence[Token]) -> str:
    """Give every second-level heading an anchor; the list of links to them."""
    links: list[str] = []
    plain = MarkdownIt("commonmark", {"html": False})
    for i, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            last = tokens[i + 1].content == EVIDENCE
            place = "evidence" if last else f"section-{len(links)}"
            token.attrSet("id", place)
            words = plain.renderInline(tokens[i + 1].content)
            links.append(f'<li><a href="#{place}">{words}</a></li>')
    return "\n".join(links)


#: by their level, what headings of folds open; paper unfolds the latter
_FOLDS: Final = {"h4": "<details>", "h5": '<details class="printed">'}


def _folded(tokens: Sequence[Token]) -> list[Token]:
    """Fourth-level headings, and fifth, become summaries of what can be unfolded."""
    out: list[Token] = []
    inside = False
    for token in tokens:
        fold = token.tag in _FOLDS
        if inside and token.type == "heading_open":
            out.append(_raw("</div></details>\n"))
            inside = False
        if fold and token.type == "heading_open":
            out.append(_raw(f"{_FOLDS[token.tag]}<summary>"))
            inside = True
        elif fold and token.type == "heading_close":
            out.append(_raw("</summary><div>\n"))
        else:
            out.append(token)
    return [*out, _raw("</div></details>\n")] if inside else out


def _raw(content: str) -> Token:
    return Token("html_block", "", 0, content=content)


def _image(
    pictures: Mapping[str, bytes],
    tokens: Sequence[Token],
    at: int,
    options: OptionsDict,
    env: EnvType,
) -> str:
    """A picture of this report inlined; any other stays its words, so that nothing is fetched."""
    token = tokens[at]
    words = html.escape("".join(child.content for child in token.children or ()))
    svg = pictures.get(Path(str(token.attrs["src"])).stem)
    if svg is None:
        return words
    data = base64.b64encode(svg).decode()
    return f'<span class="figure"><img alt="{words}" src="data:image/svg+xml;base64,{data}"></span>'


def _strong(tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    words = tokens[at + 1].content
    if words == BLANK:
        return '<strong class="blank">'
    kind = next((css for v, (sign, css) in MARKS.items() if words == f"{sign} {v}"), None)
    return f'<strong class="verdict {kind}">' if kind else "<strong>"


def _link(tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    """A link within the page leads to a row; one to itself is the row's place."""
    href, words = str(tokens[at].attrs["href"]), tokens[at + 1].content
    if not href.startswith("#"):
        return f'<a href="{html.escape(href, quote=True)}">'
    place = f' id="{html.escape(words, quote=True)}"' if href == f"#{words}" else ""
    return f'<a class="row"{place} href="{html.escape(href, quote=True)}">'


def _before_table(tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    return '<div class="scroll"><table>\n'


def _after_table(tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    return "</table></div>\n"


def shell() -> str:
    """The page around a report's body: title, style, contents."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{{{TITLE}}}}</title>
<style>
{_STYLE}</style>
</head>
<body>
<nav aria-label="Contents"><details><summary>Contents</summary><ol start="0">
{{{{CONTENTS}}}}
</ol></details></nav>
<main>
{{{{BODY}}}}</main>
</body>
</html>
"""


_STYLE: Final = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
