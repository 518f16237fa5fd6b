"""The verbs. The suite decides what is asked; the command line only where and how fast."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.errors import AuditError, GateError, InputError, sentence

if TYPE_CHECKING:
    from audit.rundir import Run
    from audit.suite import Suite

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
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    label_sets = "label-sets"
    templates = "templates"
    probes = "probes"
    metrics = "metrics"
    suites = "suites"


class Gate(StrEnum):
    """When a run ends with exit code 3."""

    high = "high"
    large = "shown-large"
    open = "cannot-tell"


def main() -> None:
    """Run the command line; an AuditError becomes one sentence and its exit code."""
    try:
        app()
    except AuditError as error:
        _console(stderr=True).print(
            f"[bold red]clip-audit:[/] {_plain(str(error))}", soft_wrap=True
        )
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        _console(stderr=True).print("stopped; what was encoded is kept")
        raise SystemExit(130) from None


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("suite.yaml"),
) -> None:
    """Write a commented suite to start from."""
    from audit.resources import bundled
    from audit.rundir import write_text

    if path.exists():
        raise InputError(sentence(f"{path} exists already", "Name another file"))
    write_text(path, (bundled("suites") / "starter.yaml.txt").read_text(encoding="utf-8"))
    _console().print(f"{path} written. Edit it, then: clip-audit check {path}")


@app.command()
def check(suite: SuiteName, model: Model = None) -> None:
    """Resolve every name, count every cell, print the smallest detectable gaps; run nothing."""
    from audit.models.huggingface import locate

    asked = _load(suite, model).resolve()
    place = locate(asked.model, asked.trust_remote_code)
    console = _console()
    console.print(f"model: {_plain(asked.model)} ({_plain(place)})", soft_wrap=True)
    console.print(_table("Pictures", asked.cells()))
    console.print(
        _table("Smallest gap that would be detected, in points, by base rate", _power(asked))
    )
    console.print(
        f"Gaps are between the two smallest groups of {asked.confidence.min_group} or more, for "
        f"one label, {asked.confidence.level:.0%} level over all its comparisons, "
        f"{asked.confidence.power:.0%} power. 'needed': pictures a group to show that "
        "equal rates of 10 % differ by less than the default margin."
    )
    console.print(f"{suite} is sound. Next: clip-audit run {suite}")


@app.command()
def run(
    suite: SuiteName,
    model: Model = None,
    out: Out = Path("runs"),
    cache: Cache = Path("cache"),
    device: Device = "auto",
    fail_on: Annotated[Gate | None, typer.Option(help="exit with 3 if a finding is this")] = None,
) -> None:
    """Carry out a suite and render its report."""
    from audit.embeddings import Store
    from audit.report import render
    from audit.run import carry_out

    asked = _load(suite, model)
    with _progress() as tell:
        finished = carry_out(asked, out, Store(cache), _encoder(asked, device), tell)
        tell("draw the report", 0, 1)
        render(finished)
        tell("draw the report", 1, 1)
    _summary(finished)
    _gate(finished, fail_on)


@app.command()
def report(path: RunPath) -> None:
    """Render the report of a finished run again."""
    from audit.report import render
    from audit.rundir import open_run

    html = render(open_run(path))
    _console().print(f"report: {html}", soft_wrap=True)


@app.command(name="list")
def list_(kind: Kind) -> None:
    """List what is there by name."""
    from audit import catalogue

    for name, purpose in catalogue.listing(kind.value):
        _console().print(f"[bold]{name}[/]  {_plain(purpose)}", soft_wrap=True)


@app.command()
def show(name: Annotated[str, typer.Argument(help="any name that 'list' prints")]) -> None:
    """Show the card of a model, data set, label set, template set, probe, metric or suite."""
    from audit import catalogue

    _console().print(_plain(catalogue.card(name)), soft_wrap=True)


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
    from audit.models.train import train as train_model

    train_model(config, out, pictures=pictures, device=device, seed=seed, resume=resume)
    _console().print(f"model: {out}", soft_wrap=True)


@app.command()
def dashboard(
    runs: Annotated[Path, typer.Argument(help="folder of runs, or one run")] = Path("runs"),
    port: Annotated[int, typer.Option(help="port on this machine")] = 8501,
) -> None:
    """Open the dashboard on this machine only."""
    import subprocess

    from audit.resources import shipped

    page = shipped("dashboards") / "findings.py"
    options = ["--server.address", "localhost", "--browser.gatherUsageStats", "false"]
    options += ["--client.toolbarMode", "viewer"]
    command = [sys.executable, "-m", "streamlit", "run", str(page), "--server.port", str(port)]
    code = subprocess.call([*command, *options, "--", str(runs.resolve())])
    if code:
        raise AuditError(
            sentence(
                "the dashboard did not start",
                "Is it installed? pip install 'clip-audit[dashboard]'",
            )
        )


@app.command()
def purge(
    dataset: Annotated[str, typer.Option(help="the data set's name")],
    subject: Annotated[
        list[str] | None, typer.Option(help="only these subjects (cluster ids)")
    ] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Delete stored embeddings of a data set, or of some of its subjects."""
    from audit.embeddings import Store

    gone = Store(cache).purge(dataset=dataset, cluster_ids=subject)
    _console().print(f"{gone} stored embeddings deleted from {cache}")


@people.command()
def fetch() -> None:
    """Download the body shapes and textures that rendering needs (about 137 MB, once)."""
    from audit.data.people.assets import fetch_assets

    _console().print(f"body shapes and textures: {fetch_assets()}", soft_wrap=True)


@people.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the pictures")],
    split: Annotated[str, typer.Option(help="audit, counterfactual or train")] = "train",
    processes: Annotated[int | None, typer.Option(help="default: one a core")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first so many")] = None,
) -> None:
    """Render the pictures again from their parameters (needs the extra 'people')."""
    from audit.data.people.build import build as build_pictures

    with _progress() as tell:
        built = build_pictures(
            split,
            out,
            processes=processes,
            limit=limit,
            progress=lambda done, total: tell("render", done, total),
        )
    _console().print(
        f"{built.rendered} rendered, {built.present} were there: {out}", soft_wrap=True
    )
    if built.quarantined:
        refused = ", ".join(
            f"{path} ({reason})" for path, reason in list(built.quarantined.items())[:5]
        )
        raise AuditError(sentence(f"{len(built.quarantined)} pictures were refused: {refused}"))


def _load(name: str, model: str | None) -> Suite:
    from audit.suite import load_suite

    return load_suite(name, **({"model": model} if model else {}))


def _encoder(suite: Suite, device: str) -> Any:
    def load() -> Any:
        from audit.models.huggingface import load as load_encoder

        return load_encoder(
            suite.model,
            device=device,
            precision=suite.precision,
            trust_remote_code=suite.trust_remote_code,
        )

    return load


def _summary(finished: Run) -> None:
    """The terminal's last screen: the most important findings and where the report is."""
    from rich.table import Table

    from audit.findings import in_columns, tally_verdicts

    table = Table(title=f"{finished.name}: most important findings", title_justify="left")
    for name in ("verdict", "asked", "widest between", "gap in points"):
        table.add_column(name, overflow="fold")
    for finding in finished.findings[:10]:
        table.add_row(*map(_plain, in_columns(finding)))
    console = _console()
    console.print(table)
    counts = tally_verdicts(finished.findings)
    console.print(", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n))
    console.print(f"report: {finished.path / 'report.html'}", soft_wrap=True)


def _gate(finished: Run, gate: Gate | None) -> None:
    tests: dict[Gate, Callable[[dict[str, Any]], bool]] = {
        Gate.high: lambda f: f["severity"] == "high",
        Gate.large: lambda f: f["verdict"] == "shown large",
        Gate.open: lambda f: f["verdict"] in ("shown large", "cannot tell"),
    }
    hit = [f for f in finished.findings if gate and tests[gate](f)]
    if hit:
        raise GateError(
            sentence(
                f"--fail-on {gate}: {len(hit)} findings reach it",
                f"The first: {hit[0]['statement']}",
            )
        )


def _power(suite: Suite) -> Any:
    """The table of detectable gaps with short headings, in points."""
    power = suite.power()
    for column in [c for c in map(str, power.columns) if c.startswith("base")]:
        power[column] = [f"{100 * v:.1f}" if v == v else "none" for v in power[column]]
    power["needed"] = [f"{v:,.0f}" if v == v else "none" for v in power["needed"]]
    return power.rename(columns=lambda c: c.replace("base ", "at ").replace("comparisons", "tests"))


def _table(title: str, frame: Any) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in frame:
        table.add_column(str(column), justify="right" if frame[column].dtype != "str" else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(_plain(str(v)) for v in row))
    return table


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """A progress bar a stage, on the error stream."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=_console(stderr=True)) as bars:
        stages: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield tell


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _plain(text: str) -> str:
    """Text in which square brackets are not taken for markup."""
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
