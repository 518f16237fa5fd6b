"""Text as Markdown, and Markdown as a report's page: one file, no scripts, nothing to fetch."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

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

    Raw HTML in the text stays text. Fourth-level headings fold what is under them. ``mark`` stays
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


def _folded(tokens: Sequence[Token]) -> list[Token]:
    """Fourth-level headings become summaries of what can be unfolded."""
    out: list[Token] = []
    inside = False
    for token in tokens:
        fold = token.tag == "h4"
        if inside and token.type == "heading_open":
            out.append(_raw("</div></details>\n"))
            inside = False
        if fold and token.type == "heading_open":
            out.append(_raw("<details><summary>"))
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


_STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1d2429; --soft: #58646c; --line: #d9dee2;
  --tint: #f5f6f4; --link: #005a8f; --paper: #fff; --warn: #fff6e5; --todo: #fff8d6;
  --todo-ink: #6a5200; --found: #fff6d6; --large: #a84300; --small: #00588a; --pale: #e3f0f8;
  --open: #5a5a5a; --seen: #6b1f5c; --on: #fff; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9eb; --soft: #a7b1b8;
  --line: #3a4349; --tint: #22282c; --link: #7cc0ee; --paper: #14181b; --warn: #33280f;
  --todo: #3a3208; --todo-ink: #f0dc8a; --found: #3a3208; --large: #ff9d5c; --small: #8ccbf2;
  --pale: #12303f; --open: #b9bfc4; --seen: #e79ad6; --on: #14181b; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper);
  overflow-wrap: break-word; font: 16px/1.55 system-ui, -apple-system,
  "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
main { padding-bottom: 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1.6rem 0 .6rem; }
h2 { font-size: 1.32rem; line-height: 1.3; margin: 3rem 0 .7rem; padding-top: .9rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.06rem; margin: 1.9rem 0 .4rem; }
p, ul, ol { margin: .55rem 0 .8rem; max-width: 52rem; }
li { margin: .35rem 0; }
a { color: var(--link); }
code { font: .84em/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  background: var(--tint); padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--tint); padding: .8rem 1rem; border-radius: 5px; overflow-x: auto; }
pre code { padding: 0; background: none; }
blockquote { margin: 1rem 0; padding: .35rem 1.1rem; background: var(--warn);
  border-left: 5px solid #b06a00; border-radius: 0 5px 5px 0; }
nav { position: absolute; top: .5rem; right: max(1.25rem, calc(50vw - 35.75rem)); z-index: 2;
  max-width: 44rem; background: var(--paper); font-size: .88rem; }
nav details { margin: 0; } nav summary { padding: .25rem .7rem; }
body:has(.mark) nav { position: static; }
nav ol { columns: 2; column-gap: 2rem; padding-left: 0; list-style: none; }
nav li { margin: .15rem 0; break-inside: avoid; }
.scroll { overflow-x: auto; margin: .8rem 0 1.1rem; }
table { border-collapse: collapse; font-size: .87rem; line-height: 1.4; min-width: 50%;
  font-variant-numeric: tabular-nums; }
thead:not(:has(th:not(:empty))) { display: none; }
th { text-align: left; vertical-align: bottom; border-bottom: 2px solid var(--ink); }
th, td { padding: .34rem .55rem; }
th:first-child, td:first-child { padding-left: .2rem; }
td { border-bottom: 1px solid var(--line); vertical-align: top; }
details { margin: .6rem 0; border: 1px solid var(--line); border-radius: 5px; }
summary { cursor: pointer; padding: .45rem .8rem; font-weight: 600; }
details > div, details > ol { padding: 0 .8rem .4rem; margin-top: 0; }
.figure { display: block; overflow-x: auto; margin: 1rem 0; background: var(--paper);
  border-radius: 5px; }
.figure img { display: block; width: 100%; min-width: 38rem; height: auto; }
a.row { color: inherit; text-decoration: underline dotted #9aa4ab; text-underline-offset: .2em; }
a.row:hover, a.row:focus-visible { color: var(--link); text-decoration-style: solid; }
tr:has(> td > a.row:target) { background: var(--found); }
a.row[id] { white-space: nowrap; }
p:has(> .figure) + p, p:has(> em:only-child):has(+ .scroll) { font-size: .84em;
  color: var(--soft); margin-top: -.4rem; }
p:has(> em:only-child):has(+ .scroll) { margin: .8rem 0 -.6rem; break-after: avoid; }
#evidence ~ * td em { font-style: normal; color: var(--soft); }
.verdict { display: inline-block; white-space: nowrap; font-size: .86em; line-height: 1.35;
  padding: .06em .55em; border: 1.5px solid; }
.verdict.exceeds { color: var(--on); background: var(--large); border-color: var(--large); }
.verdict.within { color: var(--small); background: var(--pale); border-radius: 1em; }
.verdict.inconclusive { color: var(--open); background: var(--paper); border-style: dashed; }
.verdict.seen { color: var(--on); background: var(--seen); border-color: var(--seen); }
.mark { position: sticky; top: 0; z-index: 1; max-width: none; margin: 0; padding: .4rem .8rem;
  font-weight: 600; color: var(--on); background: var(--large); }
.blank { font-weight: 400; color: var(--todo-ink); background: var(--todo); padding: .05em .45em;
  border-bottom: 1.5px solid #c9a400; }
@media (max-width: 640px) {
  body { font-size: 15px; } h1 { font-size: 1.5rem; } nav ol { columns: 1; }
  main { padding-left: .9rem; padding-right: .9rem; } nav { right: .9rem; }
}
/* the first page: the answer, cards, one figure, how sure, what next */
h1:has(+ .first) { font-size: 1rem; margin: .8rem 7rem .1rem 0; }
.first h2 { margin: .5rem 0 .35rem; padding: 0; border: 0; font-size: 1rem; line-height: 1.3; }
.first p, .first ul, .first ol { max-width: none; margin: .35rem 0; }
.first .head { display: flex; flex-wrap: wrap; gap: 0 1.6rem; padding: 0; list-style: none;
  font-size: .86rem; color: var(--soft); }
.first .head li { margin: 0; }
.first .care { font-size: .8rem; color: var(--soft); margin: 0; padding-bottom: .45rem;
  border-bottom: 1px solid var(--line); }
.first .answer { font-size: 1.75rem; line-height: 1.2; font-weight: 700; margin: .7rem 0 .2rem;
  text-wrap: balance; }
.besides { font-size: 1.02rem; color: var(--soft); }
.first .note { padding: .2rem .8rem; font-size: .9rem; background: var(--warn);
  border-left: 4px solid #b06a00; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13.2rem, 1fr)); gap: .8rem;
  margin: .7rem 0; }
.card { padding: .6rem .8rem .5rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--tint); font-size: .82rem; line-height: 1.38; }
.card p { margin: .3rem 0; } .card h2 { margin: .35rem 0 .2rem; }
.rate { display: grid; grid-template-columns: 1fr auto; gap: 0 .5rem; margin: .3rem 0; }
.rate strong { font-variant-numeric: tabular-nums; }
.rate svg { grid-column: 1 / -1; width: 100%; height: .55rem; display: block; }
svg .bed { fill: var(--line); } svg .whisker { fill: var(--ink); }
svg .exceeds { fill: var(--large); } svg .within { fill: var(--small); }
svg .inconclusive { fill: var(--open); } svg .seen { fill: var(--seen); }
.dumbbells { margin: .8rem 0 .4rem; }
.dumbbells figcaption { font-weight: 700; margin-bottom: .2rem; }
.dumbbells > p, .first .reading { font-size: .8rem; color: var(--soft); }
.axis, .line { display: grid; grid-template-columns: 11.5rem 1fr 10.2rem; gap: 1rem;
  align-items: center; font-size: .82rem; line-height: 1.25; }
.axis div { position: relative; height: 1.2rem; }
.axis span { position: absolute; transform: translateX(-50%); color: var(--soft); }
.line { min-height: 2.35rem; }
.line small, .first li small { display: block; color: var(--soft); font-size: .92em; }
.line > div { position: relative; height: 2.35rem; background: linear-gradient(var(--line),
  var(--line)) 50% 50% / 100% 1px no-repeat; }
.line u { position: absolute; top: 50%; text-decoration: none; }
.line .margin { height: 1rem; margin-top: -.5rem; background: var(--line); }
.line .gap { height: 3px; margin-top: -1.5px; background: var(--mark); }
.line .dot { width: .72rem; height: .72rem; margin: -.36rem; border: 2px solid var(--mark);
  border-radius: 50%; background: var(--mark); }
.line .less.dot { background: var(--paper); }
.line em { position: absolute; top: -.1rem; line-height: 1.15; font-style: normal; font-size: .95em;
  color: var(--soft); white-space: nowrap; }
.line.near em.less { top: auto; bottom: 0; }
.line.exceeds { --mark: var(--large); } .line.within { --mark: var(--small); }
.line.inconclusive { --mark: var(--open); } .line.inconclusive .gap { opacity: .55; }
.last { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; font-size: .92rem;
  line-height: 1.45; }
.last ul, .last ol { padding-left: 1.2rem; }
@media (max-width: 640px) {
  .first .answer { font-size: 1.35rem; } .last { grid-template-columns: 1fr; }
  .axis { grid-template-columns: 1fr; } .axis p { display: none; }
  .axis span:first-child { transform: none; }
  .axis span:last-child { transform: translateX(-100%); }
  .line { grid-template-columns: 1fr auto; gap: 0 .6rem; margin-top: .7rem; }
  .line > div { grid-row: 2; grid-column: 1 / -1; }
  .line em.less { top: auto; bottom: 0; }
  .line em { max-width: 100%; overflow: hidden; text-overflow: ellipsis; }
}
@page { margin: 14mm; }
@media print {
  body { font-size: 9.5pt; } main { max-width: none; padding: 0; } a { color: inherit; }
  nav { display: none; } details:not([open]) > summary::after { content: " (in report.html)"; }
  details { break-inside: avoid; margin: .25rem 0; } summary { padding: .2rem .6rem; }
  html { font-size: 10.7px; } .first { break-after: page; } .first .row { display: none; }
  .line .row { display: inline; } .cards { grid-template-columns: repeat(4, 1fr); gap: .6rem; }
  /* one table too wide would shrink every page, so its cells break anywhere */
  table { font-size: 8pt; } th, td { padding-left: .4em; padding-right: .4em; }
  table:has(th:nth-child(9)) td { overflow-wrap: anywhere; }
  h2, h3, summary { break-after: avoid; } tr, .figure { break-inside: avoid; }
  .scroll { overflow: visible; }
  .figure img { min-width: 0; } * { print-color-adjust: exact; }
  a.row { text-decoration: none; } .mark { position: fixed; bottom: 0; top: auto; left: 0; }
  #evidence, #evidence ~ *, nav li:has(a[href="#evidence"]) { display: none; }
}
"""
