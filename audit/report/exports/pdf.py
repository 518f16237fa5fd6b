"""A report as a PDF with bookmarks, by ReportLab and the fonts that matplotlib brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from audit.core.characters import visible
from audit.core.rows import Row
from audit.core.rundir import Run
from audit.report.exports.outline import (
    Block,
    Code,
    Heading,
    Image,
    Paragraph,
    Span,
    Table,
    allowed,
    blocks,
    plain,
    widths,
)
from audit.report.exports.word import report_of, require_library

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable, SimpleDocTemplate

_FACES: Final = {
    "Sans": "DejaVuSans",
    "Sans-Bold": "DejaVuSans-Bold",
    "Sans-Italic": "DejaVuSans-Oblique",
    "Sans-BoldItalic": "DejaVuSans-BoldOblique",
    "Mono": "DejaVuSansMono",
}
#: characters of a table's head, over which it goes on over the next page like any row
_LONGEST_HEAD: Final = 200
#: between the text of a cell and its edge
_PADDING: Final = 3
#: of the letters of tables: the first at which the longest word of every column fits, else the last
_TABLE_SIZES: Final = (7.0, 6.5, 6.0, 5.5, 5.0)
#: the widest fonts of a cell
_WIDE: Final = ("Sans-Bold", "Mono")
_SIZES: Final = {1: 17, 2: 13, 3: 10.5, 4: 9.5}


def write_pdf(run: Run, to: Path) -> Path:
    """Write the rendered report of a run as a PDF; the same report gives the same bytes.

    Raises:
        InputError: the extra 'export' isn't installed, or the report isn't rendered.
    """
    return write_text_as_pdf(run, report_of(run), to)


def write_text_as_pdf(run: Run, text: str, to: Path, margin: float = 54) -> Path:
    """Write Markdown about a run as a PDF.

    Args:
        run: the run, whose folder has the figures.
        text: a report's Markdown, or a part of one.
        to: the file.
        margin: left and right of the text, in points.

    Raises:
        InputError: the extra 'export' isn't installed.
    """
    require_library("reportlab", "a PDF")
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    _fonts()
    document = SimpleDocTemplate(
        str(to),
        pagesize=A4,
        leftMargin=margin,
        rightMargin=margin,
        topMargin=min(50, margin),
        bottomMargin=50,
        title=allowed(f"Bias audit of {run.manifest['model']}"),
        author="clip-audit",
        creator="clip-audit",
        subject=allowed(f"Run {run.sealed_name}"),
        lang="en",
        initialFontName="Sans",
        invariant=1,
    )
    parts = enumerate(blocks(text, run.path))
    story = [part for i, block in parts for part in _flowables(block, document.width, i)]
    foot = _foot(visible(run.sealed_name), datetime.fromisoformat(run.manifest["finished"]))
    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return to


@lru_cache
def _fonts() -> None:
    """Register DejaVu, which has the signs of verdicts and most scripts of Europe."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name, file in _FACES.items():
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{file}.ttf")))
    pdfmetrics.registerFontFamily("Sans", "Sans", "Sans-Bold", "Sans-Italic", "Sans-BoldItalic")
    pdfmetrics.registerFontFamily("Mono", "Mono", "Mono", "Mono", "Mono")


def _foot(name: str, finished: datetime) -> Callable[[Canvas, SimpleDocTemplate], None]:
    """What stands at the foot of every page: the run and the page's number.

    The file's date is that of the run, which is told with the first page.
    """
    day = f"D:{finished.astimezone(UTC):%Y%m%d%H%M%S}+00'00'"

    def draw(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.setDateFormatter(lambda *now: day)
        canvas.setFont("Sans", 7)
        canvas.drawString(54, 30, name)
        canvas.drawRightString(document.pagesize[0] - 54, 30, str(canvas.getPageNumber()))

    return draw


def _style(size: float = 9, **more: object) -> ParagraphStyle:
    from reportlab.lib.styles import ParagraphStyle

    given = {"fontName": "Sans", "fontSize": size, "leading": 1.35 * size, "spaceAfter": 4}
    always = {"splitLongWords": 1, "bulletFontName": "Sans"}
    return ParagraphStyle("body", **(given | always | more))


def _flowables(block: Block, width: float, place: int) -> Iterator[Flowable]:
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Spacer

    if isinstance(block, Heading):
        yield _heading(block, f"h{place}")
    elif isinstance(block, Paragraph):
        yield _paragraph(block)
    elif isinstance(block, Image):
        yield _image(block, width)
    elif isinstance(block, Code):
        lines = "<br/>".join(escape(line) for line in block.text.split("\n"))
        yield Text(f'<font name="Mono">{lines}</font>', _style(8, backColor="#f5f6f4"))
    else:
        yield _table(block, width)
        yield Spacer(1, 6)


def _heading(block: Heading, place: str) -> Flowable:
    """A heading that is also a bookmark."""
    from reportlab.platypus import Paragraph as Text

    level = min(block.level, 4)
    style = _style(_SIZES[level], fontName="Sans-Bold", spaceBefore=22 - 4 * level, keepWithNext=1)

    class Bookmarked(Text):  # type: ignore[misc]
        def draw(self) -> None:
            self.canv.bookmarkPage(place)
            self.canv.addOutlineEntry(plain(block.spans), place, max(0, level - 2), closed=True)
            super().draw()

    return (Bookmarked if level < 3 else Text)(_marked(block.spans), style)


def _paragraph(block: Paragraph) -> Flowable:
    from reportlab.platypus import Paragraph as Text

    indent = 12 * block.depth
    looks: Row = {"leftIndent": indent, "bulletIndent": max(0, indent - 10)}
    if block.quote:
        looks |= {"backColor": "#fff6e5", "borderPadding": 4, "leftIndent": indent + 6}
        looks |= {"rightIndent": 6, "spaceBefore": 4}
    return Text(_marked(block.spans), _style(**looks), bulletText=block.mark or None)


def _image(block: Image, width: float) -> Flowable:
    from reportlab.platypus import Image as Picture

    picture = Picture(str(block.path))
    shrink = min(width / picture.imageWidth, 620 / picture.imageHeight)
    picture.drawWidth, picture.drawHeight = (
        shrink * picture.imageWidth,
        shrink * picture.imageHeight,
    )
    return picture


def _table(block: Table, width: float) -> Flowable:
    from reportlab.platypus import LongTable
    from reportlab.platypus import Paragraph as Text

    rows = block.rows if block.headed else block.rows[1:]
    size, columns = _columns(rows, width)
    left, right = _style(size), _style(size, alignment=2)
    head = _style(size, fontName="Sans-Bold")
    cells = [
        [
            Text(_marked(piece), head if block.headed and i == 0 else right if r else left)
            for piece, r in zip(row, block.right, strict=True)
        ]
        for i, row in enumerate(rows)
    ]
    # a head is repeated on every page, so it has to leave room on them
    head_rows = int(block.headed and max(len(plain(cell)) for cell in rows[0]) <= _LONGEST_HEAD)
    # a row higher than a page goes on over the next
    table = LongTable(cells, colWidths=columns, repeatRows=head_rows, splitInRow=1)
    table.setStyle(
        [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, "#d9dee2"),
            ("FONTNAME", (0, 0), (-1, -1), "Sans"),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), _PADDING),
            ("RIGHTPADDING", (0, 0), (-1, -1), _PADDING),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ]
    )
    return table


def _columns(rows: Sequence[Sequence[Sequence[Span]]], width: float) -> tuple[float, list[float]]:
    """The size of a table's letters, at which no word breaks, and the widths of its columns."""
    _fonts()
    for size in _TABLE_SIZES:
        columns = widths(rows, width, partial(_width, size))
        if sum(columns) <= width + 0.1:
            break
    return size, [w * width / sum(columns) for w in columns]


def _width(size: float, word: str) -> float:
    """The room that a word needs in a cell, whichever of the fonts it is set in."""
    from reportlab.pdfbase import pdfmetrics

    widest: float = max(pdfmetrics.stringWidth(word, font, size) for font in _WIDE)
    return widest + 2 * _PADDING + 0.5  # for rounding


def _marked(pieces: Sequence[Span]) -> str:
    """Pieces in ReportLab's own markup, in which all else is escaped."""
    out = []
    for piece in pieces:
        text = escape("".join(c for c in piece.text if c >= " "))
        if piece.code:
            text = f'<font name="Mono">{text}</font>'
        if piece.italic:
            text = f"<i>{text}</i>"
        if piece.bold:
            text = f"<b>{text}</b>"
        if piece.link.startswith(("https://", "http://")):
            address = escape(piece.link, {'"': "&quot;"})
            text = f'<a href="{address}" color="#005a8f">{text}</a>'
        out.append(text)
    return "".join(out)
