"""A black box behind an address or a command: same tables as inside, and every way it can fail."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import audit
from audit.core.errors import InputError
from audit.models.families import load, locate
from audit.models.lines import Address, AgainError

LABELS = ("woman", "man")
N = 48
Answer = tuple[int, dict[str, str], bytes]


def scores_of(picture: bytes) -> dict[str, float]:
    """A model in one line: how red a picture is, and how blue."""
    with Image.open(io.BytesIO(picture)) as image:
        red, _, blue = (float(x) for x in np.asarray(image.convert("RGB")).mean(axis=(0, 1)))
    share = (1 + red) / (2 + red + blue)
    return {"woman": share, "man": 1 - share}


def as_json(scores: dict[str, float], status: int = 200) -> Answer:
    body = {"labels": [{"label": k, "score": v} for k, v in scores.items()]}
    return status, {}, json.dumps(body).encode()


class Server:
    """A service on this machine; ``answer`` gets the number of the request and the picture."""

    def __init__(self, answer: Callable[[int, bytes], Answer]) -> None:
        self.asked: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append(body)
                server.keys.append(self.headers["authorization"])
                code, headers, text = answer(
                    len(server.asked), base64.b64decode(body["image"], validate=True)
                )
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "content-length" not in headers:
                    self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *given: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ask"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int, bytes], Answer]], Server]]:
    """Start servers that end with the test."""
    started: list[Server] = []

    def start(answer: Callable[[int, bytes], Answer]) -> Server:
        started.append(Server(answer))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of two plain colours, more or less mixed, in two groups."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(N):
        group = "a" if i % 2 else "b"
        red = bool(rng.random() < (0.8 if group == "a" else 0.4))
        colour = np.array([200, 30, 60] if red else [60, 30, 200]) + rng.integers(-20, 20, 3)
        Image.new("RGB", (9, 8), tuple(int(c) for c in colour)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", group, "female" if red else "male"))
    names = ["path", "group", "gender"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "card.yaml").write_text(
        "{name: plain, manifest: people.csv, named_people: false, consent: stated, attributes: "
        "{group: {source: assigned}, gender: {source: annotator-perceived}}}"
    )
    return tmp_path


def describe(folder: Path, **keys: object) -> str:
    said = {"name": "box", "labels": list(LABELS), "version": "1", "retries": 1, "per_second": 1e4}
    path = folder / "box.yaml"
    path.write_text(json.dumps({**said, **keys}))
    return f"service:{path}"


def suite(folder: Path, model: str, more: str = "") -> audit.Suite:
    path = folder / "suite.yaml"
    path.write_text(
        f"name: box\nmodel: '{model}'\ndataset: ./card.yaml\nattributes: [group]\n"
        "confidence: {resamples: 100}\nprobes:\n  - {kind: classification, label_set: "
        f"people-gender, templates: bare, truth: gender, label_effects: false}}\n{more}"
    )
    return audit.load_suite(path)


def carry_out(folder: Path, model: str, more: str = "") -> audit.Run:
    return audit.run(suite(folder, model, more), out=folder / "runs", cache=folder / "cache")


def well(n: int, picture: bytes) -> Answer:
    return as_json(scores_of(picture))


# --- the same as inside -------------------------------------------------------------------------


PROGRAM = """
import base64, json, sys
sys.path.insert(0, {tests!r})
from test_service import scores_of
for line in sys.stdin:
    asked = json.loads(line)
    scores = scores_of(base64.b64decode(asked["image"]))
    print(json.dumps({{"labels": [dict(label=k, score=v) for k, v in scores.items()]}}), flush=True)
"""


@pytest.mark.slow
def test_an_address_a_command_and_a_table_give_the_same_tables(folder: Path, serve) -> None:
    server = serve(well)
    rows = []
    for i in range(N):
        for label, score in scores_of((folder / f"{i}.png").read_bytes()).items():
            rows.append((f"{i}.png", label, repr(score)))
    frame = pd.DataFrame(rows, columns=["image_id", "label", "score"])
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "box.py").write_text(PROGRAM.format(tests=str(Path(__file__).parent)))
    runs = [
        carry_out(folder, f"predictions:{folder / 'table.csv'}"),
        carry_out(folder, describe(folder, url=server.url)),
        carry_out(folder, describe(folder, command=[sys.executable, "box.py"])),
    ]
    for run in runs[1:]:
        pd.testing.assert_frame_equal(run.rates, runs[0].rates)
        pd.testing.assert_frame_equal(run.disparities, runs[0].disparities)
        # stored scores have seven digits, which moves what is simulated from them
        ours, theirs = (
            r.calibration.loc[:, [c for c in r.calibration if not c.startswith("ece_")]]
            for r in (run, runs[0])
        )
        pd.testing.assert_frame_equal(ours, theirs, atol=1e-6, rtol=1e-6)
    assert {tuple(q["labels"]) for q in server.asked} == {LABELS}
    assert not any("png" in str(k).lower() for q in server.asked for k in q if k != "image")


@pytest.mark.slow
def test_answers_are_kept_and_a_picture_is_asked_about_once(folder: Path, serve) -> None:
    server = serve(well)
    model = describe(folder, url=server.url, repeat=0)
    carry_out(folder, model)
    assert len(server.asked) == N
    run = carry_out(folder, model)
    assert len(server.asked) == N
    assert any("0 pictures were asked about in this run" in c for c in run.model["caveats"])
    carry_out(folder, describe(folder, url=server.url, repeat=0, version="2"))
    assert len(server.asked) == 2 * N


@pytest.mark.slow
def test_pictures_are_altered_before_they_are_handed_over(folder: Path, serve) -> None:
    sizes = set()

    def answer(n: int, picture: bytes) -> Answer:
        with Image.open(io.BytesIO(picture)) as image:
            sizes.add(image.size)
        return as_json(scores_of(picture))

    model = describe(folder, url=serve(answer).url, repeat=0)
    path = folder / "suite.yaml"
    suite(folder, model)
    path.write_text(
        path.read_text().replace(
            "label_effects: false", "label_effects: false, wordings: {alterations: [padding 0.25]}"
        )
    )
    audit.run(path, out=folder / "runs", cache=folder / "cache")
    assert len(sizes) == 2


# --- noise and drift ----------------------------------------------------------------------------


def notes(run: audit.Run) -> str:
    return next(c for c in run.model["caveats"] if "asked twice" in c)


@pytest.mark.slow
def test_a_steady_service_is_said_to_be_steady(folder: Path, serve) -> None:
    run = carry_out(folder, describe(folder, url=serve(well).url, repeat=1))
    assert f"Of {N} pictures that were asked twice at once, 0 got other scores" in notes(run)
    assert "asked again at the end, 0 did (by up to 0), and 0 got another label" in notes(run)


@pytest.mark.slow
def test_planted_noise_and_drift_are_noticed(folder: Path, serve) -> None:
    def drifting(n: int, picture: bytes) -> Answer:
        scores = scores_of(picture)
        if n > 2 * N:  # all that comes at the end
            scores = dict(zip(scores, reversed(scores.values()), strict=True))
        return as_json(scores)

    said = notes(carry_out(folder, describe(folder, url=serve(drifting).url, repeat=1)))
    assert "asked twice at once, 0 got" in said
    assert f"at the end, {N} did" in said
    assert f"{N} got another label" in said

    def noisy(n: int, picture: bytes) -> Answer:
        shift = 0.01 if n % 2 else -0.01
        woman = min(max(scores_of(picture)["woman"] + shift, 0), 1)
        return as_json({"woman": woman, "man": 1 - woman})

    (folder / "cache").rename(folder / "old")
    said = notes(carry_out(folder, describe(folder, url=serve(noisy).url, repeat=1, version="3")))
    assert "asked twice at once, 0 got" not in said


# --- faults -------------------------------------------------------------------------------------


def page(n: int, picture: bytes) -> Answer:
    return 200, {"content-type": "text/html"}, b"<html><title>Sign in</title></html>"


def fault(kind: str) -> Callable[[int, bytes], Answer]:
    """A service that answers well at first, and after 20 requests does not."""
    given: dict[str, Callable[[bytes], Answer]] = {
        "page": lambda p: page(0, p),
        "label": lambda p: as_json({**scores_of(p), "robot": 0.1}),
        "score": lambda p: as_json({"woman": 7.5, "man": 0.1}),
        "text": lambda p: as_json({"woman": "high", "man": 0.1}),  # type: ignore[dict-item]
        "fewer": lambda p: as_json({"woman": 0.4}),
        "shape": lambda p: (200, {}, b'{"result": []}'),
        "half": lambda p: (200, {"content-length": "400"}, b'{"labels": [{"lab'),
        "busy": lambda p: (503, {}, b""),
        "key": lambda p: (401, {}, b""),
        "gone": lambda p: (404, {}, b""),
    }
    return lambda n, p: well(n, p) if n <= 20 else given[kind](p)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("page", "answers '<html>.*Sign in.*no JSON.*a page for people"),
        ("label", "answers the label 'robot', which is not listed.*'version'"),
        ("score", "answers the score 7.5 for 'woman'.*from 0 to 1"),
        ("text", "answers the score 'high' for 'woman'"),
        ("fewer", "an answer has no score of 'man'.*'missing'"),
        ("shape", "has no list of 'labels'"),
        ("half", "can't be reached, or ends within an answer.*2 times"),
        ("busy", "answers with status 503, 2 times.*What was answered is kept"),
        ("key", r"refuses to answer \(status 401\)"),
        ("gone", "answers with status 404.*Check the address"),
    ],
)
def test_a_service_that_fails_is_a_sentence_and_nothing_is_lost(
    folder: Path, serve, kind: str, said: str
) -> None:
    server = serve(fault(kind))
    with pytest.raises(InputError, match=said):
        carry_out(folder, describe(folder, url=server.url, repeat=0))
    mended = serve(well)
    # the same service elsewhere would be another model, so it comes back at its own address
    model = load(describe(folder, url=server.url, repeat=0))
    model._line._url = mended.url  # type: ignore[attr-defined]
    asked = suite(folder, describe(folder, url=server.url, repeat=0))
    run = audit.run(asked, model=model, out=folder / "runs", cache=folder / "cache")
    assert run.rates.query("group == 'everyone'")["n"].max() == N
    assert 0 < len(mended.asked) < N


@pytest.mark.slow
def test_what_fails_once_is_asked_again(folder: Path, serve) -> None:
    def shaky(n: int, picture: bytes) -> Answer:
        return (429, {"retry-after": "0"}, b"") if n % 5 == 0 else well(n, picture)

    run = carry_out(folder, describe(folder, url=serve(shaky).url, repeat=0, retries=3))
    assert run.rates.query("group == 'everyone'")["n"].max() == N


@pytest.mark.slow
def test_a_service_that_takes_too_long_is_a_sentence(folder: Path, serve) -> None:
    wait = threading.Event()

    def slow(n: int, picture: bytes) -> Answer:
        wait.wait(5)
        return well(n, picture)

    model = describe(folder, url=serve(slow).url, timeout=0.05, retries=1)
    with pytest.raises(InputError, match="gives no answer in time, 2 times"):
        carry_out(folder, model)
    wait.set()


@pytest.mark.slow
def test_a_picture_that_is_refused_is_set_aside(folder: Path, serve) -> None:
    refused = (folder / "7.png").read_bytes()
    with Image.open(io.BytesIO(refused)) as image:
        pixels = image.convert("RGB").tobytes()

    def choosy(n: int, picture: bytes) -> Answer:
        with Image.open(io.BytesIO(picture)) as image:
            same = image.convert("RGB").tobytes() == pixels
        return (422, {}, b"") if same else well(n, picture)

    run = carry_out(folder, describe(folder, url=serve(choosy).url))
    assert run.dataset["quarantined"] == 1


@pytest.mark.slow
def test_the_budget_ends_a_run_and_the_next_one_goes_on(folder: Path, serve) -> None:
    server = serve(well)
    model = describe(folder, url=server.url, repeat=0, budget=30)
    with pytest.raises(InputError, match="budget of 30 requests is spent.*run again"):
        carry_out(folder, model)
    assert carry_out(folder, model).rates["n"].max() == N
    assert N <= len(server.asked) <= 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["no-such-program"], "'no-such-program' can't be started"),
        ([sys.executable, "-c", "pass"], "ended before it answered, 2 times"),
        (
            # to every picture: several threads ask, and each is to hear it
            [sys.executable, "-c", "import sys\nfor _ in sys.stdin: print('hello', flush=True)"],
            "'hello'.*no JSON",
        ),
    ],
)
def test_a_command_that_fails_is_a_sentence(folder: Path, program: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        carry_out(folder, describe(folder, command=program))


def picture() -> Image.Image:
    """One that fills more than a pipe holds."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((302, {"location": "http://x.org/a"}, b""), "leads to http://x.org/.*no other address"),
        ((200, {}, b"[" * 200_000), "which is no JSON"),
        ((200, {}, b""), "answers nothing"),
        ((200, {}, b" " * 10_000_001), "more than 10,000,000 bytes"),
        (
            (200, {}, b'{"labels": [{"label": ["man"], "score": 1}]}'),
            r"label '\['man'\]', which is",
        ),
        ((200, {}, b'{"error": "\\u001b[31mred"}'), r"refuses it: \\x1b\[31mred"),
        ((429, {"retry-after": "\xb2"}, b""), "answers with status 429"),
        ((408, {}, b""), "answers with status 408, 1 times"),
    ],
)
def test_a_hostile_answer_is_a_sentence(folder: Path, serve, answer: Answer, said: str) -> None:
    model = load(describe(folder, url=serve(lambda n, p: answer).url, retries=0))
    with pytest.raises(InputError, match=said):
        model.encode_images([picture()])


def test_an_answer_that_comes_drop_by_drop_is_too_slow() -> None:
    address = Address("http://localhost/", "box", timeout=30, key=None)
    late = address._body(httpx.Response(200, content=b"{}"), end=time.monotonic() - 1)
    with pytest.raises(AgainError, match="no answer in time"):
        next(late)


def test_what_stays_on_this_machine_goes_through_no_proxy(
    folder: Path, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(well)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = serve(well)
    load(describe(folder, url=server.url, repeat=0)).encode_images([picture()])
    assert (len(proxy.asked), len(server.asked)) == (0, 1)


ANSWER = json.dumps({"labels": [{"label": "man", "score": 0.1}, {"label": "woman", "score": 0.9}]})


TWICE = f"import sys\nfor line in sys.stdin: print({ANSWER!r}, {ANSWER!r}, sep=chr(10), flush=True)"
LATIN = (
    "import sys\nfor line in sys.stdin: sys.stdout.buffer.write(b'\\xe9\\n'), sys.stdout.flush()"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "timeout", "said"),
    [
        (TWICE, 30, "after its answer, as if asked for more.*another 'version'"),
        (LATIN, 30, "which is no JSON.*standard error"),
        ("import time; time.sleep(60)", 0.2, "gives no answer in time, 1 times"),
    ],
)
def test_a_command_that_reads_or_writes_otherwise_is_a_sentence(
    folder: Path, program: str, timeout: float, said: str
) -> None:
    command = [sys.executable, "-c", program]
    model = load(describe(folder, command=command, retries=0, timeout=timeout))
    # a line too many may come while the next picture is asked about
    with pytest.raises(InputError, match=said):
        model.encode_images([picture()] * 20)


# --- care ---------------------------------------------------------------------------------------


def test_pictures_of_people_leave_only_where_that_is_meant_and_allowed(folder: Path) -> None:
    model = describe(folder, url="https://api.example.org/v1/tag?x=1")
    assert locate(model).place == "https://api.example.org"
    with pytest.raises(InputError, match="would leave this machine for https://api.example.org"):
        carry_out(folder, model)
    allowed = "acknowledge: ['https://api.example.org']\n"
    with pytest.raises(InputError, match="states no legal_basis"):
        carry_out(folder, model, allowed)


@pytest.mark.slow
def test_a_key_comes_from_the_environment_and_is_stored_nowhere(
    folder: Path, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(well)
    model = describe(folder, url=server.url, key="BOX_KEY")
    monkeypatch.delenv("BOX_KEY", raising=False)
    with pytest.raises(InputError, match="in the environment as BOX_KEY, and is not"):
        load(model)
    monkeypatch.setenv("BOX_KEY", "s3cret-of-the-box\n")
    with pytest.raises(InputError, match="BOX_KEY has a blank, an end of line") as refused:
        load(model)
    assert "s3cret" not in str(refused.value)
    monkeypatch.setenv("BOX_KEY", "s3cret-of-the-box")
    carry_out(folder, model)
    assert set(server.keys) == {"Bearer s3cret-of-the-box"}
    for place in (folder / "runs", folder / "cache"):
        for path in place.rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "give either 'url' or 'command'"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://localhost", "labels": ["a", "a"]}, "a label is listed twice"),
        ({"url": "http://localhost", "labels": ["a"]}, "labels"),
        ({"url": "http://localhost", "missing": float("nan")}, "missing: got .*; a finite number"),
        ({"url": "http://localhost", "missing": 2}, "missing: got 2"),
        ({"url": "https:///tag"}, "names no machine"),
        ({"url": "http://127.0.0.1\\\\@example.org/"}, "url"),
    ],
)
def test_a_description_that_is_not_well_formed_is_refused(
    folder: Path, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load(describe(folder, **keys))


@pytest.mark.slow
def test_a_service_that_only_names_its_label_is_counted(folder: Path, serve) -> None:
    def names(n: int, picture: bytes) -> Answer:
        scores = scores_of(picture)
        return 200, {}, json.dumps({"labels": [{"label": max(scores, key=scores.get)}]}).encode()  # type: ignore[arg-type]

    run = carry_out(folder, describe(folder, url=serve(names).url, scored=False))
    assert run.calibration.empty
    chosen = run.outcomes("people-gender").set_index("image_id")["predicted"]
    for i in range(N):
        scores = scores_of((folder / f"{i}.png").read_bytes())
        assert chosen[f"{i}.png"] == max(scores, key=scores.get)  # type: ignore[arg-type]
