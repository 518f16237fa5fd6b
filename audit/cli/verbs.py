"""The verbs. The suite decides what is asked; the command line only where and how fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.cli import pace
from audit.cli.kinds import Export, Kind, choice_of
from audit.cli.launching import Cluster, On, Units, Workers, elsewhere, require_one_way
from audit.cli.levels import LEVELS, FailOn, level_of, require_below, say_words_of_now
from audit.cli.machine import of_the_machine, require_port, say_version
from audit.cli.opened import encoder_of, opened, told_of_model
from audit.cli.people import people
from audit.cli.preview import (
    LEFT,
    data_remarks,
    fonts_missing,
    groups_in_numbers,
    plan_status,
    subjects_needed,
    suite_in_short,
)
from audit.cli.purging import Cache, purge
from audit.cli.renderings import damage_told, export_all, rendered, survived
from audit.cli.summary import author_words, gate_results, largest_changes, of_run
from audit.core.errors import AuditError, InputError
from audit.core.terminal import (
    Stopped,
    cells,
    complain,
    entry,
    libraries_quiet,
    numbers,
    progress,
    readable_streams,
    say,
    some,
    stoppable,
)

if TYPE_CHECKING:
    from audit.engine.suite import Suite

app = typer.Typer(
    name="clip-audit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(help="Assess disparities in CLIP models: label sets, wordings and groups.")
def _every_command(
    told: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="which it is")
    ] = False,
) -> None:
    """Options of the command itself."""


app.add_typer(people, name="people")

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="a bundled suite or a YAML file")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run")]
Out = Annotated[Path, typer.Option(help="folder of all runs")]
Model = Annotated[str | None, typer.Option(help="ask another model than the suite's")]
AllowEdited = Annotated[
    bool,
    typer.Option("--allow-edited", help="go on if files were changed since; marks every page"),
]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]


def main() -> None:
    """Run the command line; an AuditError becomes one sentence and its exit code."""
    readable_streams()
    try:
        with stoppable():
            app()
    except AuditError as error:
        complain(str(error))
        raise SystemExit(error.exit_code) from None
    except Stopped as stopped:
        say("; ".join(("stopped", *getattr(stopped, "__notes__", ()))), stderr=True)
        raise SystemExit(stopped.exit_code) from None
    except (OSError, MemoryError) as error:
        complain(of_the_machine(error))
        raise SystemExit(1) from None


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("suite.yaml"),
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="a data set of 'clip-audit list datasets'"),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="the folder of that data set's files")] = None,
    legal_basis: Annotated[
        str, typer.Option(help="what allows you to use its pictures, in your words")
    ] = "",
) -> None:
    """Write a commented suite to start from."""
    from audit.core.files import unwritable, write_text
    from audit.explore.starting import starter, to_set

    if path.exists():
        raise InputError(f"{path} exists already", "Name another file")
    text = starter(source, root, legal_basis)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise unwritable(path, "the suite", error, "'clip-audit new FILE'") from error
    keys = to_set(text)
    first = f"Set {' and '.join(keys)} in it" if keys else "Edit it"
    say(f"{path} written. {first}, then: clip-audit check {path}")


@app.command()
@libraries_quiet()
def check(
    suite: SuiteName,
    model: Model = None,
    seal: Annotated[bool, typer.Option("--seal", help="date the plan before it is run")] = False,
    out: Out = Path("runs"),
    cache: Cache = Path("cache"),
) -> None:
    """Resolve every name, count every cell, print the smallest detectable gaps; run nothing."""
    from audit.engine.askable import require_askable
    from audit.models.families import locate

    asked = _load(suite, model).resolve()
    model_here = locate(asked.model)
    suite_in_short(asked, model_here.place)
    told_of_model(model_here.caveats)
    if model_here.unread:
        say(f"model: {model_here.unread}.")
    require_askable(asked, model_here)
    data_remarks(asked)
    groups_in_numbers(asked)
    if asked.primary:
        numbers("Subjects a group that each primary question needs", subjects_needed(asked), LEFT)
        say(
            f"  At {asked.confidence.power:.0%} power: to show a gap of twice the margin to exceed "
            "it, from a rate of 10%, and equal rates of 10% to lie within it."
        )
    fonts_missing(asked)
    say(pace.estimate(asked, cache))
    plan_status(asked, out, seal)
    say(f"{suite} is sound. Next: clip-audit run {suite}" + (f" --model {model}" if model else ""))


@app.command()
@libraries_quiet()
def embed(
    suite: SuiteName,
    model: Model = None,
    cache: Cache = Path("cache"),
    device: Device = "auto",
    unit: Annotated[
        str | None, typer.Option(metavar="K/N", help="only part K of N, as on one of N machines")
    ] = None,
    on: On = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    units: Units = None,
) -> None:
    """Embed a suite's pictures and ask nothing; 'run' then finds them in the store."""
    from audit.engine.embed import embed as embedded
    from audit.engine.units import embed_by
    from audit.scale.units import Unit
    from audit.store.embeddings import Store

    part = None if unit is None else Unit.parse(unit)
    require_one_way(unit, on)
    by = elsewhere(on, cluster, workers, units, device)
    asked, store = _load(suite, model), Store(cache)
    encoder = encoder_of(asked, device)
    with progress() as shown, damage_told():
        tell = pace.Watch(shown)
        if by is None:
            kept, lost = embedded(asked, store, encoder, part, tell)
        else:
            kept, lost = embed_by(by, asked, store, encoder, tell)
    pace.keep(tell, asked, cache)
    of = "" if part is None else f"unit {part}: "
    told = [f"{one.image_id}: {one.reason}" for one in lost]
    say(f"{of}{kept:,} pictures are embedded, {len(lost):,} set aside")
    some(told)


@app.command()
@libraries_quiet()
def run(
    suite: SuiteName,
    model: Model = None,
    out: Out = Path("runs"),
    cache: Cache = Path("cache"),
    device: Device = "auto",
    self_check: Annotated[
        str | None, typer.Option(help="if the model fails easy questions: stop, warn or skip")
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            parser=level_of, metavar="LEVEL", help=f"exit with 3 if a (primary) finding is {LEVELS}"
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="read all pictures, stored ones of the same time too")
    ] = False,
    on: On = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    units: Units = None,
) -> None:
    """Carry out a suite and render its report."""
    from audit.engine.run import carry_out
    from audit.engine.units import embed_by
    from audit.store.embeddings import Store

    by = elsewhere(on, cluster, workers, units, device)
    asked = _load(suite, model, self_check)
    say(pace.estimate(asked.resolve(), cache), stderr=True)
    with progress() as shown:
        tell = pace.Watch(shown)
        with damage_told():
            store, encoder = Store(cache, verify=verify), encoder_of(asked, device)
            if by is not None:
                embed_by(by, asked, store, encoder, tell)
            finished = carry_out(asked, out, store, encoder, tell)
        tell("draw the report", 0, 1)
        # the run is sealed: whatever happens to its renderings, its gates decide the exit code
        survived("The report", lambda: rendered(finished))
        tell("draw the report", 1, 1)
    pace.keep(tell, asked, cache)
    survived("The summary for this terminal", lambda: of_run(finished))
    gate_results(finished)
    require_below(finished, fail_on)


@app.command()
def report(
    path: RunPath,
    check: Annotated[
        bool, typer.Option("--check", help="only check the author's words in narrative.yaml")
    ] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="write a narrative.yaml to start from")
    ] = False,
    public: Annotated[
        Path | None,
        typer.Option(help="write a copy to publish here: no rows of pictures, no small groups"),
    ] = None,
    export: Annotated[
        list[Export] | None,
        typer.Option(
            parser=choice_of(Export),
            metavar=f"[{'|'.join(Export)}]",
            help="write it as this too; may be given again",
        ),
    ] = None,
    allow_edited: AllowEdited = False,
) -> None:
    """Render the report of a finished run again, with the author's words beside it."""
    from audit.core.files import require_writable
    from audit.report import narrative
    from audit.report.exports.kinds import require_exportable
    from audit.report.exports.public import write_public

    finished, kinds = opened(path, allow_edited), [kind.value for kind in export or ()]
    if not check:  # what will be refused is refused before anything is drawn or written
        narrative.checked(finished)
        require_exportable(finished, kinds)
        require_writable(finished.path if public is None else public)
    if public:
        finished = write_public(finished, public)
    if draft:
        say(f"the author's words: {narrative.draft(finished)}")
    if check:
        author_words(finished)
    else:
        some([str(p) for p in narrative.narrative_of(finished).problems], stderr=True)
        say(f"report: {rendered(finished)}")
        export_all(finished, kinds)


@app.command()
def track(
    path: RunPath,
    to: Annotated[str, typer.Option(help="mlflow or wandb, where it is set up")],
    allow_edited: AllowEdited = False,
) -> None:
    """Send a run's rates and gaps to a tracker that is set up, small groups suppressed."""
    from audit.report.exports.trackers import send

    say(f"sent to {to}: {send(opened(path, allow_edited), to)}")


@app.command()
def evidence(
    path: RunPath,
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="ROWS", help="such as disparities:412 or rates:3-7,12, or the id of a finding"
        ),
    ],
    allow_edited: AllowEdited = False,
) -> None:
    """Print the rows that numbers and findings of a report rest on."""
    from audit.core.evidence import rows_at, told_whole

    finished = opened(path, allow_edited)
    for one in rows:
        for place, pairs in told_whole(rows_at(finished, one)):
            cells(place, ("Column", "Value"), pairs)


@app.command()
def compare(
    path: RunPath,
    other: Annotated[Path, typer.Argument(metavar="RUN", help="the run to compare it with")],
    task: Annotated[str | None, typer.Option(help="one task only")] = None,
    other_task: Annotated[
        str | None, typer.Option(help="its counterpart in the second run: another label set")
    ] = None,
    condition: Annotated[str, typer.Option(help="the wording compared")] = "ensemble",
    other_condition: Annotated[
        str | None, typer.Option(help="its counterpart in the second run: another wording")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="write all changes to this .csv, .parquet or .json")
    ] = None,
    allow_edited: AllowEdited = False,
) -> None:
    """Compare two runs about the same pictures: which gaps between groups changed, and how surely.

    Two models, label sets or wordings. Name one run twice to compare within it.
    """
    from audit.core.files import require_writable
    from audit.explore import compare as comparison

    if out:
        comparison.require_format(out)
        require_writable(out)
    runs = opened(path, allow_edited), opened(other, allow_edited)
    told = comparison.remarks(*runs, task, other_task)
    changes = comparison.compare(*runs, task, other_task, condition, other_condition)
    largest_changes(changes, runs, told)
    if out:
        comparison.save(changes, out)
        say(f"all changes: {out}")


@app.command(name="list")
def list_(
    kind: Annotated[
        Kind, typer.Argument(parser=choice_of(Kind), metavar="KIND", help=", ".join(Kind))
    ],
) -> None:
    """List what is there by name."""
    from audit.explore import catalogue

    for name, purpose in catalogue.listing(kind.value):
        entry(name, purpose)


@app.command()
def show(name: Annotated[str, typer.Argument(help="any name that 'list' prints")]) -> None:
    """Show the card of a model, data set, label set, template set, probe, metric or suite."""
    from audit.explore import catalogue

    for line in catalogue.card(name).split("\n"):
        say(line)


@app.command()
def replicate(
    path: RunPath,
    cards: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CARD]...", help="names or YAML files; all if none"),
    ] = None,
    allow_edited: AllowEdited = False,
) -> None:
    """Hold published numbers beside a run's own, and say how far the protocols are apart."""
    from audit.core.tables import records
    from audit.explore import replication
    from audit.explore.replication_card import card_names, load_card

    found = [load_card(name) for name in cards or card_names()]
    table = replication.replicate_all(found, opened(path, allow_edited))
    say(replication.in_short(table))
    columns = ("verdict", "number", "published", "ours", "difference", "distance", "why")
    for name, rows in table.groupby("card", sort=False):
        told = [replication.in_columns(row) for row in records(rows)]
        cells(f"{name}, in %", columns, told)


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="a label or template set, by name or path")],
    other: Annotated[str, typer.Argument(help="another one, or another version of it")],
) -> None:
    """Show what changed between two label or template sets."""
    from audit.explore import catalogue

    lines = catalogue.difference(one, other)
    for line in lines or ["nothing changed"]:
        say(line)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="a bundled training config or a YAML file")],
    out: Annotated[Path, typer.Option(help="folder of the model")],
    pictures: Annotated[
        Path | None, typer.Option(help="in place of the config's feed.path")
    ] = None,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(help="another seed than the config's")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint")] = True,
) -> None:
    """Train a CLIP on pairs of pictures and captions; says beforehand how long it will take."""
    from audit.training.specimens import train_from
    from audit.training.trainer import Limits

    done = train_from(config, out, pictures, seed, Limits(device, resume=resume))
    if done is not None:
        broken = f", {done.broken:,} pairs set aside (broken.jsonl)" if done.broken else ""
        say(f"model: {out}{broken}")


@app.command()
def dashboard(
    runs: Annotated[Path, typer.Argument(help="folder of runs, or one run")] = Path("runs"),
    port: Annotated[int, typer.Option(help="port on this machine")] = 8501,
    cache: Cache = Path("cache"),
    pictures: Annotated[bool, typer.Option(help="with the page that shows pictures")] = True,
) -> None:
    """Open the dashboard on this machine only."""
    import os
    import subprocess
    from importlib.util import find_spec

    from audit.core.resources import shipped

    if find_spec("streamlit") is None:
        told = "the dashboard is not installed"
        raise InputError(told, "pip install 'clip-audit[dashboard]' installs it")
    require_port(port)
    command = [sys.executable, str(shipped("dashboards") / "serve.py"), str(port)]
    where = os.environ | {"CLIP_AUDIT_CACHE": str(cache.resolve())}
    given = [str(runs.resolve()), *([] if pictures else ["--no-pictures"])]
    code = subprocess.call([*command, *given], env=where)
    if code:
        told = f"the dashboard ended with exit code {code}"
        raise AuditError(told, "What it said itself is above")


app.command()(purge)


def _load(name: str, model: str | None, self_check: str | None = None) -> Suite:
    from audit.engine.suite import load_suite

    changes = {"model": model, "self_check": self_check}
    found = load_suite(name, **{key: value for key, value in changes.items() if value is not None})
    say_words_of_now(name)
    return found


if __name__ == "__main__":
    main()
