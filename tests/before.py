"""A run as the version before layout 6 wrote it: its verdicts in other words."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import yaml

from audit.core.files import digest_of, write_json
from audit.core.rundir import Run, open_run, with_seal

WORDS = {
    "exceeds margin": "shown large",
    "within margin": "shown small",
    "inconclusive": "cannot tell",
}
KEYS = {new.replace(" ", "_"): old.replace(" ", "_") for new, old in WORDS.items()}
#: what sentences say now and said before
SENTENCES = {
    "fails if a gap exceeds the margin": "fails if shown large",
    "fails unless every gap is within the margin": "fails unless shown small",
    "inconclusive allowed": "cannot tell allowed",
    "exceeds the margin of": "shown large against a margin of",
    "within the margin of": "shown small: below the margin of",
    "within the margin: ": "shown small: ",
    "inconclusive against the margin of": "cannot tell whether it exceeds the margin of",
    "'within margin' is said of no group that nobody looked at": (
        "nothing is shown small of groups that nobody looked at"
    ),
    **{f"; {new}.": f"; {old}." for new, old in WORDS.items()},
    **{f": {new}{end}": f": {old}{end}" for new, old in WORDS.items() for end in (".", ", ", " (")},
}


def in_words_of_before(run: Run, schema: int = 5) -> Run:
    """Write a run's files in the words of before, sealed as of that layout."""
    for path in run.path.glob("*.parquet"):
        table = pd.read_parquet(path).rename(columns={"exceeds_margin": "shown_large"})
        for name in [name for name in table if name.endswith("verdict")]:
            table[name] = table[name].replace(WORDS)
        if "statement" in table:
            table["statement"] = table["statement"].map(sentence)
        table.to_parquet(path, index=False)
    for name in ("findings.json", "gates.json"):
        if (path := run.path / name).is_file():
            write_json(path, _nested(json.loads(path.read_text(encoding="utf-8"))))
    suite = yaml.safe_load((run.path / "suite.yaml").read_text(encoding="utf-8"))
    rules = [
        {k: [KEYS.get(w, w) for w in v] if isinstance(v, list) else KEYS.get(v, v)
         for k, v in gate.items()}
        for gate in suite.get("gates", [])
    ]  # fmt: skip
    (run.path / "suite.yaml").write_text(yaml.safe_dump(suite | {"gates": rules}))
    files = {name: digest_of(run.path / name) for name in run.manifest["files"]}
    manifest = {**run.manifest, "schema": schema, "files": files}
    sealed = with_seal(manifest) if "seal" in manifest else manifest
    write_json(run.path / "manifest.json", sealed)
    return open_run(run.path)


def sentence(text: str) -> str:
    """A sentence as it was written before."""
    for new, old in SENTENCES.items():
        text = text.replace(new, old)
    return text


def _nested(found: Any) -> Any:
    if isinstance(found, list):
        return [_nested(one) for one in found]
    if isinstance(found, dict):
        return {name: _nested(value) for name, value in found.items()}
    return WORDS.get(found, sentence(found)) if isinstance(found, str) else found
