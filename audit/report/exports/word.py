"""A report as a Word document (DOCX), to be commented on and signed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from audit.core.errors import InputError
from audit.core.rows import Record
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
    widths,
)

if TYPE_CHECKING:
    from docx.document import Document
    from docx.shape import InlineShape
    from docx.text.paragraph import Paragraph as WordParagraph

#: a place in a ZIP file that tells no time
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
#: characters that the format has room for
_LONGEST_TITLE: Final = 255
#: centimetres of text on a page, of a letter in a table's head, and between a cell's text and edge
_WIDTH, _LETTER, _PADDING = 16.0, 0.17, 0.19
_QUOTE: Final = "Intense Quote"


def write_docx(run: Run, to: Path) -> Path:
    """Write the rendered report of a run as a Word document; the same report, the same bytes.

    Raises:
        InputError: the extra 'export' isn't installed, or the report isn't rendered.
    """
    require_library("docx", "a Word document")
    import docx
    from docx.shared import Pt

    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = Pt(10)
    _properties(document, run)
    _page(document, allowed(run.sealed_name))
    lists = _Lists(document)
    for block in blocks(report_of(run), run.path):
        _add(document, block, lists)
    buffer = io.BytesIO()
    document.save(buffer)
    to.write_bytes(_without_times(buffer.getvalue()))
    return to


def report_of(run: Run) -> str:
    """The report's Markdown as last rendered.

    Raises:
        InputError: there is none.
    """
    path = run.path / "report.md"
    if not path.is_file():
        told = f"{run.path} has no report.md"
        raise InputError(told, f"'clip-audit report {run.path}' renders it")
    return path.read_text(encoding="utf-8")


def require_library(name: str, what: str) -> None:
    """Refuse ``what`` where the library that writes it isn't there.

    Raises:
        InputError: the extra 'export' isn't installed.
    """
    if find_spec(name) is None:
        told = f"{what} needs the extra 'export'"
        raise InputError(told, "pip install 'clip-audit[export]'")


def _properties(document: Document, run: Run) -> None:
    """Title and dates of the run, so that nothing tells when the file was written."""
    finished = datetime.fromisoformat(run.manifest["finished"]).replace(tzinfo=None)
    about = document.core_properties
    about.title = allowed(f"Bias audit of {run.manifest['model']}")[:_LONGEST_TITLE]
    about.author, about.last_modified_by, about.comments = "clip-audit", "", ""
    about.created = about.modified = finished
    about.language, about.revision = "en", 1


def _page(document: Document, name: str) -> None:
    """A4 with room for a figure's width, the run at its head and its number at its foot."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Cm

    section = document.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm((21 - _WIDTH) / 2)
    section.header.paragraphs[0].text = name
    number = OxmlElement("w:fldSimple")
    number.set(qn("w:instr"), "PAGE")
    section.footer.paragraphs[0]._p.append(number)


class _Lists:
    """The styles of list items; every list of numbers counts for itself."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.last = dict[int, tuple[int, Any]]()  # by depth: the last number, and its list in Word

    def mark(self, paragraph: WordParagraph, block: Paragraph) -> None:
        """Make a paragraph of a list what its mark says: an item, or the text of one going on."""
        numbered = block.mark.removesuffix(".").isdigit()
        kind = "List Number" if numbered else "List Bullet" if block.mark else "List Continue"
        depth = min(block.depth, 3)  # of which there are styles
        paragraph.style = kind if depth == 1 else f"{kind} {depth}"
        if numbered:
            self._count(paragraph, int(block.mark.removesuffix(".")), block.depth)

    def _count(self, paragraph: WordParagraph, number: int, depth: int) -> None:
        before, counted = self.last.get(depth, (0, None))
        if counted is None or number != before + 1:
            every = self.document.part.numbering_part.numbering_definitions._numbering
            own = paragraph.style.element.pPr.numPr.numId.val
            counted = every.add_num(every.num_having_numId(own).abstractNumId.val)
            counted.add_lvlOverride(ilvl=0).add_startOverride(number)
        self.last[depth] = (number, counted)
        numbering = paragraph._p.get_or_add_pPr().get_or_add_numPr()
        numbering.get_or_add_numId().val = counted.numId
        numbering.get_or_add_ilvl().val = 0


def _add(document: Document, block: Block, lists: _Lists) -> None:
    from docx.shared import Cm, Pt

    if isinstance(block, Heading):
        _set(document.add_heading(level=min(block.level, 4)), block.spans)
    elif isinstance(block, Paragraph):
        style = _QUOTE if block.quote and not block.depth else None
        paragraph = document.add_paragraph(style=style)
        if block.depth:
            lists.mark(paragraph, block)
        _set(paragraph, block.spans)
    elif isinstance(block, Image):
        document.add_picture(str(block.path), width=Cm(_WIDTH))
        _describe(document.inline_shapes[-1], block.words)
    elif isinstance(block, Code):
        _set(document.add_paragraph(), [Span(block.text, code=True)])
    else:
        _table(document, block)
        document.add_paragraph().paragraph_format.space_after = Pt(2)


def _set(paragraph: WordParagraph, pieces: Sequence[Span]) -> None:
    for piece in pieces:
        run = paragraph.add_run(allowed(piece.text))
        run.bold, run.italic = piece.bold or None, piece.italic or None
        if piece.code:
            run.font.name = "Consolas"
        if piece.link and piece.link != piece.text:
            paragraph.add_run(f" ({allowed(piece.link)})")


def _describe(shape: InlineShape, words: str) -> None:
    """The figure's words for those who can't see it."""
    shape._inline.docPr.set("descr", allowed(words))


def _table(document: Document, block: Table) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.shared import Cm, Pt

    rows = block.rows if block.headed else block.rows[1:]
    if not rows:
        return
    table = document.add_table(rows=len(rows), cols=len(block.right), style="Table Grid")
    table.autofit = False
    columns = widths(rows, _WIDTH, lambda word: _LETTER * len(word) + 2 * _PADDING)
    for column, wide in zip(table.columns, columns, strict=True):
        column.width = Cm(wide * _WIDTH / sum(columns))
        for cell in column.cells:
            cell.width = column.width
    for row in table.rows:
        row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
    for cells, row in zip([r.cells for r in table.rows], rows, strict=True):
        for cell, pieces, right in zip(cells, row, block.right, strict=True):
            paragraph = cell.paragraphs[0]
            _set(paragraph, pieces)
            paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT if right else None
            for run in paragraph.runs:
                run.font.size = Pt(8)
    if block.headed:
        _repeat_head(table.rows[0])


def _repeat_head(row: Record) -> None:
    """The head again on every page, in bold."""
    from docx.oxml import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    for cell in row.cells:
        for run in cell.paragraphs[0].runs:
            run.bold = True


def _without_times(packed: bytes) -> bytes:
    """The same ZIP file, in which no entry tells when it was written."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(out, "w") as new:
        for info in sorted(old.infolist(), key=lambda i: (i.filename != _FIRST, i.filename)):
            fixed = zipfile.ZipInfo(info.filename, _NO_TIME)
            fixed.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(fixed, old.read(info))
    return out.getvalue()


#: readers expect it first
_FIRST: Final = "[Content_Types].xml"
