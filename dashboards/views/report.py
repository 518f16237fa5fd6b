"""The run's report: write its words, read it as rendered, take it along as other files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import streamlit as st
from parts.address import ADDRESS
from parts.author import bar, draft_of, file, form, problems
from parts.runs import ALSO, current, readable_or_stop, stamp, whole_or_stop
from parts.words import plain

import audit
from audit import InputError, Run, exports, narrative, open_run, pages, rendering

#: width of the buttons, in pixels
BUTTON: Final = 230
#: a public copy as one file, beside the kinds that the command line knows
ZIP: Final = "zip"
#: kind, name and what it is for
OFFERED: Final = (
    ("html", "HTML", "one file that needs no other; what is folded prints as its title"),
    ("markdown", "Markdown", "the text; figures are named, not inside"),
    ("docx", "Word", "to comment on and to sign"),
    ("pdf", "PDF", "with bookmarks; for scripts beyond Europe’s print the HTML"),
    ("model-index", "model-index", "YAML for the head of a model card"),
    (
        "eval-results",
        "eval-results",
        "YAML for a model’s folder .eval_results, if the data set is on the Hugging Face hub",
    ),
    ("croissant", "Croissant", "JSON that describes the run’s tables and pictures"),
    ("csv", "CSV", "all rates, for a spreadsheet"),
    ("xlsx", "XLSX", "workbook of rates and gaps, with what each column holds"),
    ("ll144", "LL144", "CSV of selection rates and impact ratios, where a label selects"),
)
MIME: Final = {
    "html": "text/html", "markdown": "text/markdown", ".csv": "text/csv", ZIP: "application/zip",
    ".yaml": "text/yaml", ".json": "application/json", ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}  # fmt: skip
SUFFIX: Final = {"html": ".html", "markdown": ".md", ZIP: ".zip"}


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Report")
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    views: Mapping[str, Callable[[Run], None]] = {
        "Write": write,
        "Read": rendered_page,
        "Export": export,
    }
    view = st.segmented_control(
        "What to do",
        list(views),
        default="Write",
        required=True,
        label_visibility="collapsed",
        key="do",
        bind=ADDRESS,
    )
    try:
        views[str(view)](run)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")


# ---- write --------------------------------------------------------------------------------------


def write(run: Run) -> None:
    """The author's words: a form, or the file."""
    if why := narrative.closed(run):
        st.info(plain(why))
        words_as_they_are(run)
        return
    draft = draft_of(run)
    st.markdown(
        "The tool tells what was measured. What it can’t know is yours to say, and is kept in "
        f"`{narrative.FILE}` beside the run through every rendering. Any field may stay empty. To "
        "quote a number, choose its finding in the sidebar."
    )
    bar(run, draft, "top")
    views = {"As a form": form, "As a file": file}
    view = st.segmented_control(
        "How to write",
        list(views),
        default="As a form",
        required=True,
        label_visibility="collapsed",
        key="how",
        bind=ADDRESS,
    )
    views[str(view)](run, draft)
    bar(run, draft, "bottom")


def words_as_they_are(run: Run) -> None:
    """The words of a run that can't be written, to be read."""
    text = narrative.text_of(run)
    if text is None:
        st.markdown(f"It has no `{narrative.FILE}`: nobody has written words for it.")
        return
    st.code(text, language="yaml", wrap_lines=True)
    problems(narrative.read(run, text), text)


# ---- read ---------------------------------------------------------------------------------------


def rendered_page(run: Run) -> None:
    """The report with the words as saved."""
    if unsaved(run):
        st.warning("What you typed since you last saved is not in it.", icon=":material/edit:")
    if not sound(run):
        return
    page = rendered(*key(run), False, run).page
    # in a frame links within the page would open the dashboard's own address
    here = page.replace("<head>", '<head>\n<base href="about:srcdoc">', 1)
    st.iframe(here, height=1000, alt="The rendered report")


def unsaved(run: Run) -> bool:
    """Whether words typed on this page are not in the file."""
    return not narrative.closed(run) and draft_of(run).changed


def sound(run: Run) -> bool:
    """Whether the words let the report be rendered; what stands in the way is told."""
    words, text = narrative.narrative_of(run), narrative.text_of(run) or ""
    if not any(p.kind == "error" for p in words.problems):
        return True
    st.error(
        f"The report is not rendered until these are put right in {plain(narrative.FILE)}:",
        icon=":material/error:",
    )
    problems(words, text, "error")
    return False


def key(run: Run) -> tuple[str, str, str]:
    """What a rendering depends on: the run, its files, its author's words."""
    words = narrative.text_of(run) or ""
    return str(run.path), stamp(run.path), sha256(words.encode()).hexdigest()


@st.cache_resource(max_entries=4, show_spinner="Rendering the report, ten to twenty seconds")
def rendered(path: str, stamp: str, words: str, public: bool, _run: Run) -> rendering.Rendered:
    """The report of a run, or of its public copy.

    Made here and not read from the folder: the seal doesn't cover ``report.html``, and a run may
    come from anybody. The page has no scripts and fetches nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        return rendering.rendered(copied(_run, Path(folder)) if public else _run)


# ---- export -------------------------------------------------------------------------------------


def export(run: Run) -> None:
    """Every kind of file, made when asked for."""
    whole_or_stop(run)
    if unsaved(run):
        st.warning("What you typed since you last saved is not in them.", icon=":material/edit:")
    public = which(run)
    if not sound(run):
        return
    kinds = [
        *OFFERED,
        (ZIP, "public copy", "all of it in one archive: tables, words, figures and report"),
    ]
    for kind, name, use in kinds if public else OFFERED:
        offer(run, kind, name, use, public)
    st.caption(
        "Dates in the files are the run’s, so that the same run and words give the same bytes. "
        "Nothing is written into the run’s folder."
    )


def which(run: Run) -> bool:
    """Whether the public copy is exported; what it leaves out is told."""
    if run.public:
        st.info(plain(" ".join(exports.told(run))))
        return False
    public = st.toggle(
        "For publishing: withhold small groups, and what would give them away",
        key="public",
        bind=ADDRESS,
    )
    if not public:
        st.caption("As it is, for those who may see counts of small groups.")
        return False
    st.info(plain(" ".join(withheld(*key(run), run))))
    notes = [p for p in narrative.checked(run).problems if p.kind == "note" and "by hand" in p.told]
    if notes:
        lines = ", ".join(str(p.line) for p in notes)
        typed = f"Numbers typed by hand in {narrative.FILE}"
        said = f"{typed} are published as they stand; see line {lines}."
        st.warning(plain(said), icon=":material/flag:")
    return True


@st.cache_data(max_entries=8, show_spinner="Looking for small groups")
def withheld(path: str, stamp: str, words: str, _run: Run) -> list[str]:
    """What the public copy leaves out, in sentences."""
    with tempfile.TemporaryDirectory() as folder:
        return exports.told(copied(_run, Path(folder)))


def offer(run: Run, kind: str, name: str, use: str, public: bool) -> None:
    """A kind of file: a button that makes it, then one that downloads it."""
    made, this = files_made(run), (kind, public)
    with st.container(horizontal=True, vertical_alignment="center"):
        done = made.get(this)
        if isinstance(done, bytes):
            ending = SUFFIX.get(kind) or Path(exports.KINDS[kind][0]).suffix
            st.download_button(
                f"Download {name}",
                done,
                file_name(run, kind, ending, public),
                MIME.get(kind) or MIME[ending],
                key=f"get {kind}",
                type="primary",
                width=BUTTON,
                icon=":material/download:",
                on_click="ignore",
            )
        elif st.button(f"Make {name}", key=f"make {kind}", width=BUTTON):
            with st.spinner(f"Making {name}"):
                made[this] = made_or_refused(run, kind, public)
            st.rerun()
        st.markdown(plain(use))
    if isinstance(done, pages.AuditError):
        st.error(plain(done), icon=":material/warning:")


def files_made(run: Run) -> dict[tuple[str, bool], bytes | pages.AuditError]:
    """What was made of this run and these words on this page; of others it is let go."""
    of, files = st.session_state.get("files made", (None, {}))
    if of != key(run):
        of, files = st.session_state["files made"] = key(run), {}
    made: dict[tuple[str, bool], bytes | pages.AuditError] = files
    return made


def file_name(run: Run, kind: str, ending: str, public: bool) -> str:
    """A name to save it under; kinds that share an ending are told apart."""
    of = f"{run.name}-public" if public else run.name
    return f"{of}{ending}" if ending not in (".yaml", ".json", ".csv") else f"{of}-{kind}{ending}"


def made_or_refused(run: Run, kind: str, public: bool) -> bytes | pages.AuditError:
    """The file, or why there can be none."""
    try:
        return made_as(run, kind, public)
    except pages.AuditError as error:
        return error
    except Exception as error:
        return exports.failed(run, kind, error)


def made_as(run: Run, kind: str, public: bool) -> bytes:
    """A run as a file of a kind, made in a temporary folder.

    Raises:
        InputError: it can't be written so: a library is missing, nothing was declared.
    """
    if kind in ("html", "markdown"):
        done = rendered(*key(run), public, run)
        return (done.page if kind == "html" else done.text).encode()
    with tempfile.TemporaryDirectory() as folder:
        source = copied(run, Path(folder)) if public else of_itself(run, Path(folder))
        if kind == ZIP or exports.KINDS[kind][0].startswith("report."):
            rendering.write(rendered(*key(run), public, run), source.path)
        if kind == ZIP:
            return archive(source.path)
        to = Path(folder) / "made"
        return exports.KINDS[kind][1](source, to).read_bytes()


def copied(run: Run, folder: Path) -> Run:
    """The public copy of a run."""
    return exports.write_public(run, folder / f"{run.name}-public")


def of_itself(run: Run, folder: Path) -> Run:
    """The run without its private part, in a folder that may be written."""
    return open_run(run.copy_without_private(folder / run.name))


def archive(folder: Path) -> bytes:
    """A folder as one file; the same files give the same bytes."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return audit.lab.zipped(
        {f"{folder.name}/{p.relative_to(folder)}": p.read_bytes() for p in paths}
    )


show(current())
