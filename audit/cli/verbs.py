"""The verbs. The suite decides what is asked; the command line only where and how fast."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.cli.levels import LEVELS, FailOn, level_of, require_below
from audit.core.errors import AuditError, GateError, InputError, sentence
from audit.core.terminal import (
    Stopped,
    cells,
    complain,
    libraries_quiet,
    numbers,
    progress,
    readable_streams,
    say,
    some,
    stoppable,
)

if TYPE_CHECKING:
    from audit.core.rundir import Run
    from audit.engine.suite import Suite

app = typer.Typer(
    name="clip-audit",
    help="Assess disparities in CLIP models: label sets, wordings and groups.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
people = typer.Typer(help="The rendered people that come with the tool.", no_args_is_help=True)
app.add_typer(people, name="people")

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="a bundled suite or a YAML file")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run")]
Out = Annotated[Path, typer.Option(help="folder of all runs")]
Cache = Annotated[Path, typer.Option(help="folder of stored embeddings", envvar="CLIP_AUDIT_CACHE")]
Model = Annotated[str | None, typer.Option(help="ask another model than the suite's")]
AllowEdited = Annotated[
    bool,
    typer.Option("--allow-edited", help="go on if files were changed since; marks every page"),
]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]


#: columns of words in tables of numbers
_LEFT = ("attribute", "group", "compared", "question")


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    label_sets = "label-sets"
    templates = "templates"
    probes = "probes"
    metrics = "metrics"
    corruptions = "corruptions"
    suites = "suites"
    replications = "replications"


class Export(StrEnum):
    """What a run can be written as, beside Markdown and HTML."""

    docx = "docx"
    pdf = "pdf"
    model_index = "model-index"
    eval_results = "eval-results"
    croissant = "croissant"
    ll144 = "ll144"


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
        complain(_of_the_machine(error))
        raise SystemExit(1) from None


def _of_the_machine(error: OSError | MemoryError) -> str:
    """The sentence for what this machine refuses where nothing more is known of it."""
    if isinstance(error, MemoryError):
        return sentence("there is not enough memory", "Ask fewer pictures or wordings at a time")
    where = f"{error.filename}: " if error.filename else ""
    told = f"{where}this machine refuses it ({error.strerror or error})"
    return sentence(told, "Is there space, and may you read and write there?")


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("suite.yaml"),
) -> None:
    """Write a commented suite to start from."""
    from audit.core.resources import bundled
    from audit.core.rundir import unwritable, write_text

    if path.exists():
        raise InputError(sentence(f"{path} exists already", "Name another file"))
    starter = (bundled("suites") / "starter.yaml.txt").read_text(encoding="utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, starter)
    except OSError as error:
        raise unwritable(path, "the suite", error, "'clip-audit new FILE'") from error
    say(f"{path} written. Edit it, then: clip-audit check {path}")


@app.command()
@libraries_quiet()
def check(
    suite: SuiteName,
    model: Model = None,
    seal: Annotated[bool, typer.Option("--seal", help="date the plan before it is run")] = False,
    out: Out = Path("runs"),
) -> None:
    """Resolve every name, count every cell, print the smallest detectable gaps; run nothing."""
    from audit.engine.run import require_readable
    from audit.models.families import locate

    asked = _load(suite, model).resolve()
    model_here = locate(asked.model)
    _question(asked, model_here.place)
    _told_of_model(model_here.caveats)
    if model_here.read is not None:
        require_readable(asked, model_here.read)
    _remarks(asked)
    numbers("Pictures of every group", asked.cells(), _LEFT, once=True)
    numbers("The smallest gap that would be found, in points", _power(asked), _LEFT)
    _how_to_read(asked)
    if asked.primary:
        numbers("Subjects a group that each primary question needs", _needs(asked), _LEFT)
        say(
            f"  At {asked.confidence.power:.0%} power: to show a gap of twice the margin to exceed "
            "it, from a rate of 10%, and equal rates of 10% to lie within it."
        )
    _plan(asked, out, seal)
    say(f"{suite} is sound. Next: clip-audit run {suite}")


@app.command()
@libraries_quiet()
def run(
    suite: SuiteName,
    model: Model = None,
    out: Out = Path("runs"),
    cache: Cache = Path("cache"),
    device: Device = "auto",
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            parser=level_of, metavar="LEVEL", help=f"exit with 3 if a (primary) finding is {LEVELS}"
        ),
    ] = None,
) -> None:
    """Carry out a suite and render its report."""
    from audit.engine.run import carry_out
    from audit.store.embeddings import Store

    asked = _load(suite, model)
    with progress() as tell:
        with _damage_told():
            finished = carry_out(asked, out, Store(cache), _encoder(asked, device), tell)
        tell("draw the report", 0, 1)
        # the run is sealed: whatever happens to its renderings, its gates decide the exit code
        _survived("The report", lambda: _rendered(finished))
        tell("draw the report", 1, 1)
    _survived("The summary for this terminal", lambda: _summary(finished))
    _gates(finished)
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
        list[Export] | None, typer.Option(help="write it as this too; may be given again")
    ] = None,
    allow_edited: AllowEdited = False,
) -> None:
    """Render the report of a finished run again, with the author's words beside it."""
    from audit.core.rundir import require_writable
    from audit.report import narrative
    from audit.report.exports.kinds import require_exportable
    from audit.report.exports.public import write_public

    finished, kinds = _opened(path, allow_edited), [kind.value for kind in export or ()]
    if not check:  # what will be refused is refused before anything is drawn or written
        narrative.checked(finished)
        require_exportable(finished, kinds)
        require_writable(finished.path if public is None else public)
    if public:
        finished = write_public(finished, public)
    if draft:
        say(f"the author's words: {narrative.draft(finished)}")
    if check:
        _words(finished)
    else:
        some([str(p) for p in narrative.narrative_of(finished).problems], stderr=True)
        say(f"report: {_rendered(finished)}")
        _export(finished, kinds)


@app.command()
def evidence(
    path: RunPath,
    rows: Annotated[
        list[str], typer.Argument(metavar="ROWS", help="such as disparities:412 or rates:3-7,12")
    ],
    allow_edited: AllowEdited = False,
) -> None:
    """Print the rows that numbers of a report rest on."""
    from audit.core.evidence import rows_at, told_whole

    finished = _opened(path, allow_edited)
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
    from audit.core.rundir import require_writable
    from audit.explore import compare as comparison

    if out:
        comparison.require_format(out)
        require_writable(out)
    runs = _opened(path, allow_edited), _opened(other, allow_edited)
    told = comparison.remarks(*runs, task, other_task)
    changes = comparison.compare(*runs, task, other_task, condition, other_condition)
    _changes(changes, runs, told)
    if out:
        comparison.save(changes, out)
        say(f"all changes: {out}")


@app.command(name="list")
def list_(kind: Kind) -> None:
    """List what is there by name."""
    from audit.explore import catalogue

    for name, purpose in catalogue.listing(kind.value):
        say(f"{name}  {purpose}")


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

    found = [replication.load_card(name) for name in cards or replication.card_names()]
    table = replication.replicate_all(found, _opened(path, allow_edited))
    columns = ("verdict", "number", "published", "ours", "difference", "distance", "why")
    for name, rows in table.groupby("card", sort=False):
        told = [replication.in_columns(row) for row in records(rows)]
        cells(f"{name}, in %", columns, told)
    say(replication.in_short(table))


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
    pictures: Annotated[Path, typer.Option(help="folder of the training pictures")],
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(help="another seed than the config's")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint")] = True,
) -> None:
    """Train a small CLIP from scratch on rendered people."""
    from audit.training.train import train as train_model

    train_model(config, out, pictures=pictures, device=device, seed=seed, resume=resume)
    say(f"model: {out}")


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
        raise InputError(sentence(told, "pip install 'clip-audit[dashboard]' installs it"))
    _require_port(port)
    command = [sys.executable, str(shipped("dashboards") / "serve.py"), str(port)]
    where = os.environ | {"CLIP_AUDIT_CACHE": str(cache.resolve())}
    given = [str(runs.resolve()), *([] if pictures else ["--no-pictures"])]
    code = subprocess.call([*command, *given], env=where)
    if code:
        told = f"the dashboard ended with exit code {code}"
        raise AuditError(sentence(told, "What it said itself is above"))


def _require_port(port: int) -> None:
    """Refuse a port that the dashboard could not be opened on."""
    import os
    import socket

    try:
        if port < 1:  # 0 would be any free port, which no page knows the address of
            raise OverflowError
        socket.create_server(("localhost", port)).close()
    except OverflowError:
        told = f"--port {port}: no port has this number"
        raise InputError(sentence(told, "Name one from 1024 to 65535")) from None
    except OSError as error:
        told = (
            f"--port {port}: it can't be opened on this machine ({os.strerror(error.errno or 0)})"
        )
        raise InputError(sentence(told, "Name another one from 1024 to 65535")) from None


@app.command()
def purge(
    dataset: Annotated[str, typer.Option(help="the data set's name")],
    subject: Annotated[
        list[str] | None, typer.Option(help="only these subjects (cluster ids)")
    ] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Delete stored embeddings of a data set, or of some of its subjects."""
    from audit.store.embeddings import Store

    gone = Store(cache).purge(dataset=dataset, cluster_ids=subject)
    say(f"{gone} stored embeddings deleted from {cache}")


@people.command()
def fetch() -> None:
    """Download the body shapes and textures that rendering needs (about 137 MB, once)."""
    from audit.data.people.assets import fetch_assets

    say(f"body shapes and textures: {fetch_assets()}")


@people.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the pictures")],
    split: Annotated[str, typer.Option(help="audit, counterfactual or train")] = "train",
    processes: Annotated[int | None, typer.Option(help="default: one a core")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first so many")] = None,
) -> None:
    """Render the pictures again from their parameters (needs the extra 'people')."""
    from audit.data.people.build import build as build_pictures

    with progress() as tell:
        built = build_pictures(
            split,
            out,
            processes=processes,
            limit=limit,
            progress=lambda done, total: tell("render", done, total),
        )
    say(f"{built.rendered} rendered, {built.present} were there: {out}")
    if built.quarantined:
        refused = ", ".join(
            f"{path} ({reason})" for path, reason in list(built.quarantined.items())[:5]
        )
        raise AuditError(sentence(f"{len(built.quarantined)} pictures were refused: {refused}"))


def _opened(path: Path, allow_edited: bool) -> Run:
    """A finished run; one that was edited only where that is allowed, and marked."""
    from audit.core.integrity import unedited
    from audit.core.rundir import open_run

    finished = unedited(open_run(path), allow_edited)
    if finished.manifest.get("edited"):
        say(f"{path} is an edited run, and what is made of it says so", stderr=True)
    return finished


def _load(name: str, model: str | None) -> Suite:
    from audit.engine.suite import load_suite

    return load_suite(name, **({} if model is None else {"model": model}))


def _encoder(suite: Suite, device: str) -> Any:
    def load() -> Any:
        from audit.models.families import load as load_encoder

        encoder = load_encoder(suite.model, device=device, precision=suite.precision)
        _told_of_model(encoder.card.caveats)
        return encoder

    return load


def _told_of_model(caveats: Sequence[str]) -> None:
    """What a reader of this model's numbers has to know; the report says it too."""
    for caveat in caveats:
        say(f"model: {caveat}", stderr=True, style="yellow")


def _rendered(finished: Run) -> Path:
    """Render a run's report."""
    from audit.report.render import render

    with _damage_told():
        return render(finished)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """Say on the error stream which parts could not be rendered, as sentences."""
    import warnings

    from audit.core.damage import DamagedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedWarning)
        yield
    told = [w for w in caught if issubclass(w.category, DamagedWarning)]
    some([str(w.message) for w in told], most=len(told), stderr=True)
    for w in caught:
        if w not in told:
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def _survived(part: str, render: Callable[[], object]) -> None:
    """Render a part of a sealed run; if that fails, it is said on the error stream."""
    from audit.core.damage import Damage

    try:
        render()
    except Exception as error:
        say(str(Damage.of(part, error)), stderr=True)


def _export(finished: Run, kinds: Sequence[str]) -> None:
    """Write a run as these kinds; what can't be written keeps none of the others from it.

    Raises:
        AuditError: one can't be written.
    """
    from audit.report.exports.kinds import attempted

    refused = []
    for _, result in attempted(finished, kinds):
        if isinstance(result, AuditError):
            refused.append(result)
        else:
            say(f"written: {result}")
    if refused:
        some([str(error) for error in refused[1:]], stderr=True)
        raise refused[0]


def _summary(finished: Run) -> None:
    """The terminal's last screen: the most important findings and where the report is."""
    from audit.core.verdicts import Verdict
    from audit.measure.findings import in_columns, tally_verdicts

    rows = [in_columns(finding) for finding in finished.findings[:10]]
    columns = ("verdict", "asked", "widest between", "gap in points")
    cells(f"{finished.name}: most important findings", columns, rows)
    counts = tally_verdicts(finished.findings)
    say(", ".join(Verdict(verdict).counted(n) for verdict, n in counts.items() if n))
    page = finished.path / "report.html"
    if page.is_file():
        say(f"report: {page}")
    else:
        say(f"no report: 'clip-audit report {finished.path}' renders it again")
    _set_aside(finished)


def _set_aside(finished: Run) -> None:
    """How many pictures were set aside and why, where they are listed, and whom it falls on."""
    from audit.core.rundir import PRIVATE
    from audit.store.quarantine import LIST, uneven

    data = finished.dataset
    if not data["quarantined"]:
        return
    why = ", ".join(f"{n:,} {reason}" for reason, n in data["quarantined_reasons"].items())
    listed = finished.path / PRIVATE / LIST
    say(f"{data['quarantined']:,} pictures were set aside ({why}), listed in {listed}")
    for warning in uneven(data).values():
        say(f"warning: {warning}", style="yellow")


def _changes(changes: Any, runs: Sequence[Run], remarks: Sequence[str]) -> None:
    """The gaps that surely changed most, what to know of them, and the counts of verdicts."""
    from audit.core.tables import DIFFERENCE, WORST, records
    from audit.explore.compare import in_columns, in_short, largest

    wordings = (changes[side].iloc[0] for side in ("condition", "condition_b"))
    for name, run, wording in zip("AB", runs, wordings, strict=True):
        say(f"{name}: {run.name}, {run.manifest['model']}, {wording}")
    say()
    columns = ("verdict", "asked", "between", "in A", "in B", "change (bounds)")
    for title, kind in (
        ("Largest gap between any two groups: where it changed most", WORST),
        ("Gap between two groups: where it changed most", DIFFERENCE),
    ):
        rows = [in_columns(row) for row in records(largest(changes, kind))]
        cells(f"{title}, in points", columns, rows)
    level = f"{changes['level'].iloc[0]:.0%}"
    say(
        f"Change: B less A; its bounds hold at {level} for all labels and groups of one task, "
        "metric and attribute at once. 'exceeds margin': it is more than the label family's "
        "margin, either way; 'within margin': it is less.",
    )
    some(remarks)
    say(in_short(changes))


def _gates(finished: Run) -> None:
    """What the suite's gates say; a failed one ends the command.

    Raises:
        GateError: a gated gap fails.
    """
    from audit.engine import gates

    results = gates.read(finished)
    failed = sorted((r for r in results if not r.passed), key=lambda r: r.open)
    allowed = [r for r in results if r.passed and r.open]
    some([r.sentence for r in allowed])
    some([r.sentence for r in failed], stderr=True)
    if results:
        say(f"gates: {len(results) - len(failed)} of {len(results)} gaps pass")
    if failed:
        raise GateError(
            sentence(
                f"{len(failed)} of {len(results)} gated gaps fail the policy of the suite",
                f"All are in {finished.path / gates.RESULTS}",
            )
        )


def _words(finished: Run) -> None:
    """Every problem of the author's words.

    Raises:
        InputError: there is one.
    """
    from audit.report.narrative import FILE, narrative_of

    problems = narrative_of(finished).problems
    some([str(problem) for problem in problems], most=len(problems), stderr=True)
    if problems:
        told = f"{finished.path / FILE}: {len(problems)} to mend or to answer for, listed above"
        raise InputError(sentence(told, "Only errors keep the report from being rendered"))
    say(f"{FILE}: nothing is wrong with it")


def _question(suite: Suite, place: str) -> None:
    """What would be asked: the model, the pictures, the questions, the gates."""
    data = suite.pictures
    subjects = data.table["cluster_id"].nunique()
    tasks = ", ".join(probe.task for probe in suite.asked)
    lines = [
        f"model: {suite.model} ({place})",
        f"data:  {data.name}, {len(data):,} pictures of {subjects:,} subjects",
        f"asks:  {tasks}",
        *(
            f"primary: {claim}" + (f" ({claim.why})" if claim.why else "")
            for claim in suite.primary
        ),
        *(f"gate:  {gate}" for gate in suite.gates),
    ]
    for line in lines:
        say(line)
    say()


def _remarks(suite: Suite) -> None:
    """What is seen of the pictures, and what in the data is probably not meant."""
    from audit.data.pictures import look, of_copies

    data = suite.pictures
    sight = look(data)
    lost = len(sight.faults) / len(data)
    first = next(iter(sight.faults.values()), "")
    if lost > suite.max_quarantined:
        told = f"data set '{data.name}': {len(sight.faults):,} of {len(data):,} pictures can't be "
        told += f"used, more than the {suite.max_quarantined:.0%} that the suite allows"
        raise InputError(sentence(told, f"The first: {first}"))
    remarks = [r.text for r in (*suite.remarks, *of_copies(data, suite.groups, sight.digests))]
    if sight.faults:
        remarks.insert(0, f"{len(sight.faults):,} pictures would be set aside; the first: {first}")
    how = "file" if sight.of_files else "picture"
    say(f"{len(data):,} files looked for, {sight.opened:,} opened; duplicates searched by {how}")
    if sight.unsearched:
        say(
            f"in {sight.unsearched:,} pictures inside Parquet duplicates are searched by 'run' only"
        )
    if remarks:
        say("look at the data again, nothing is changed:", style="bold yellow")
        for remark in remarks:
            say(f"  - {remark}")
    say()


def _power(suite: Suite) -> Any:
    """The table of detectable gaps: short headings, points, ranges where subjects repeat."""
    power = suite.power()
    rates = [c.removeprefix("base ") for c in map(str, power.columns) if c.startswith("base ")]
    shorter = {"smallest": "fewest", "comparisons": "pairs"}
    shown = (
        power[["attribute", "groups", *shorter]]
        .rename(columns=shorter)
        .assign(
            **{r: list(map(_range, power[f"base {r}"], power[f"worst {r}"])) for r in rates},
            needed=[f"{v:,.0f}" if v == v else "-" for v in power["needed"]],
            **{"least p": [_least(p) for p in power["smallest_p"]]},
        )
    )
    few = power["groups"] < 2
    return shown.mask(few, shown.assign(**dict.fromkeys(rates, "-")))


def _range(best: float, worst: float) -> str:
    """Points from the best case to the worst; 'none' where no gap at all would be found."""
    ends = [f"{100 * v:.1f}" if v == v else "none" for v in (best, worst)]
    return "-".join(dict.fromkeys(ends))


def _least(p: float) -> str:
    if p != p:
        return "-"
    return "<1e-6" if p < 1e-6 else f"{p:.2g}"


def _needs(suite: Suite) -> Any:
    """The subjects that each primary question needs, beside those that it has."""
    needs = suite.needs()
    shown = {"exceeds": "to exceed", "within": "to be within", "comparisons": "pairs"}
    counts = {
        name: [f"{v:,.0f}" if v == v else "none suffices" for v in needs[name]]
        for name in ("exceeds", "within")
    }
    needs = needs.assign(**counts).rename(columns=shown | {"too_few": "too few"})
    return needs if needs["too few"].any() else needs.drop(columns="too few")


def _how_to_read(suite: Suite) -> None:
    """What the headings of the table of detectable gaps mean."""
    from audit.measure.metrics import DEFAULT_FAMILY

    c = suite.confidence
    margin = 100 * c.margin(DEFAULT_FAMILY).difference
    means = {
        "groups": f"those of {c.min_group} subjects or more; 'fewest': pictures in the smallest",
        "pairs": f"of groups; the level of {c.level:.0%} holds for all pairs of a question at once",
        "5%": (
            "for an event seen in 5% of pictures: the gap between the two smallest groups that is "
            f"found with {c.power:.0%} power; none: even the largest would mostly be missed"
        ),
        "needed": (
            "pictures a group to show that equal rates of 10% differ by less than "
            f"{margin:g} points"
        ),
        "least p": (
            "the smallest adjusted p-value that could come out; "
            f"above {1 - c.level:.2g} nothing could ever be shown"
        ),
    }
    if suite.repeats:
        means["ranges"] = (
            "subjects repeat, so from pictures that are independent to each subject counting once "
            "('needed' then counts subjects)"
        )
    for heading, meaning in means.items():
        say(f"  {heading:<8} {meaning}")


def _plan(suite: Suite, out: Path, seal: bool) -> None:
    """Seal the plan if asked to, and say how it stands."""
    from datetime import UTC, datetime

    from audit.engine import plan

    sealed = plan.seal(suite, out) if seal else None
    told = plan.status(suite, out, datetime.now(UTC))
    hint = " '--seal' dates it before it is run." if told.startswith("unsealed") else ""
    say()
    say(f"The plan is {told}.{hint}")
    if sealed:
        kept = "" if sealed.first else " was there already and keeps its date"
        say(f"plan: {sealed.path}{kept}")
        say(f"Its date is proved to others by committing it: git add --force {sealed.path}")


if __name__ == "__main__":
    main()
