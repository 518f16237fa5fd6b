"""What the terminal shows: text as it is, tables that fit, progress; how a command is stopped."""

from __future__ import annotations

import codecs
import contextlib
import io
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from audit.core import quiet
from audit.core.characters import one_line
from audit.core.rows import Row

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

#: on a narrower terminal a table is printed as lines
NARROW: Final = 60
#: seconds between two lines of progress where there is no terminal
BETWEEN: Final = 10.0
#: what stands for signs of this tool where the terminal's encoding has none
_IN_ASCII: Final = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "…": "...", "×": "x"}
    | {"≥": ">=", "≤": "<=", "→": "->", "•": "*", "\u00a0": " "}
)
#: what ends a command: Ctrl-C, being told to end, and a terminal that is closed
_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stopped(BaseException):
    """Somebody ended the command; whatever was begun is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        """``number``: the signal's."""
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within, a signal to end raises ``Stopped``; one that is ignored stays ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def readable_streams() -> None:
    """A sign that the terminal's encoding lacks ends no command: it is told in ASCII."""
    codecs.register_error("readable", _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="readable")


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_IN_ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


#: the error stream, while libraries are kept from writing to it
_own_stderr: TextIO | None = None


@contextlib.contextmanager
def libraries_quiet() -> Iterator[None]:
    """Only this tool's own words reach the terminal."""
    global _own_stderr
    with quiet.libraries_quiet() as own:
        _own_stderr = own
        try:
            yield
        finally:
            _own_stderr = None


def console(stderr: bool = False) -> Console:
    """The terminal; square brackets and colons are text, not markup."""
    from rich.console import Console

    file = _own_stderr if stderr else None
    made = Console(stderr=stderr, file=file, highlight=False, markup=False, emoji=False)
    if made.is_dumb_terminal:  # which rich takes for 80 columns, whatever it has
        made.size = shutil.get_terminal_size()
    return made


def say(text: str = "", stderr: bool = False, style: str | None = None) -> None:
    """Print one line; what is not seen, or would move the cursor, is shown as its number."""
    console(stderr).print(one_line(text), soft_wrap=True, style=style)


def complain(text: str) -> None:
    """Print a sentence about what went wrong on the error stream, the command's name before it."""
    from rich.text import Text

    told = Text.assemble(("clip-audit:", "bold red"), " ", one_line(text))
    console(stderr=True).print(told, soft_wrap=True)


def entry(name: str, purpose: str) -> None:
    """Print a name and what it is for: a line for other programs, folded below it for a person."""
    from rich.padding import Padding

    if not console().is_terminal:
        say(f"{name}  {purpose}")
        return
    say(name, style="bold")
    console().print(Padding(one_line(purpose), (0, 0, 0, 4)))


def some(lines: Sequence[str], most: int = 10, stderr: bool = False) -> None:
    """Print the first of these lines, and how many more there are."""
    for line in lines[:most]:
        say(line, stderr)
    if len(lines) > most:
        say(f"and {len(lines) - most} more", stderr)


def cells(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text, the long cells folded."""
    from rich.table import Table

    table = Table(title=one_line(title), title_justify="left")
    for name in columns:
        table.add_column(one_line(name), overflow="fold")
    for row in rows:
        table.add_row(*map(one_line, row))
    _print(table, title, columns, rows)


def numbers(title: str, frame: pd.DataFrame, left: Sequence[str], once: bool = False) -> None:
    """Print a table of numbers, to the right but for columns ``left``; only the first is folded.

    ``once``: a table says what is repeated in its first column once; lines say it every time.
    """
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    rows = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()]
        for row in frame.to_dict("records")
    ]
    for at, name in enumerate(map(str, frame)):
        side: Literal["left", "right"] = "left" if name in left else "right"
        longest = max(cell_len(one_line(cell)) for cell in (name, *(row[at] for row in rows)))
        whole = {"no_wrap": True, "min_width": longest} if at else {"overflow": "fold"}
        table.add_column(one_line(name), justify=side, **whole)
    said = None
    for first, *others in rows:
        table.add_row("" if once and first == said else one_line(first), *map(one_line, others))
        said = first
    _print(table, title, [str(name) for name in frame], rows)


def _print(table: Table, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; its rows as lines where the terminal is too narrow for its columns."""
    from rich.measure import Measurement

    screen = console()
    least = Measurement.get(screen, screen.options.update_width(10_000), table).minimum
    if screen.width >= max(NARROW, least):
        screen.print(table)
        return
    say(title)
    for row in rows:
        if len(columns) == 2:
            say(f"  {row[0]}: {row[1]}")
            continue
        say()
        for name, cell in zip(columns, row, strict=True):
            say(f"  {name}: {cell}")


@contextlib.contextmanager
def progress() -> Iterator[Any]:
    """How far each stage is, on the error stream: bars, or lines where there is no room for any."""
    screen = console(stderr=True)
    if not screen.is_terminal or screen.is_dumb_terminal or screen.width < NARROW:
        yield _Lines()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    name = TextColumn("{task.description:<18}", markup=False, table_column=Column(overflow="fold"))
    left = TextColumn("left", style="progress.remaining")
    columns = (
        name,
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        left,
    )
    with Progress(*columns, console=screen) as bars:
        stages: Row = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(one_line(stage), total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield tell


def duration(seconds: float) -> str:
    """A length of time in words, as a person would round it."""
    for unit, long in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * long:
            many = seconds / long
            return f"{round(many, 1 if many < 10 else None):g} {unit}"
    whole = max(1, round(seconds))
    return f"{whole} second{'s' if whole > 1 else ''}"


class _Lines:
    """Progress as lines: when a stage begins and ends, and now and then between."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.began: dict[str, tuple[float, int]] = {}
        self.ended: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now, ends = time.monotonic(), done >= total
        if stage in self.ended:
            return
        began, before = self.began.setdefault(stage, (now, done))
        if stage not in self.told or total > 1 and (ends or now - self.told[stage] >= BETWEEN):
            more = (total - done) * (now - began) / (done - before) if done > before else 0.0
            left = f", about {duration(more)} left" if more else ""
            say(stage if total <= 1 else f"{stage}: {done:,} of {total:,}{left}", stderr=True)
            self.told[stage] = now
        if ends:
            self.ended.add(stage)
