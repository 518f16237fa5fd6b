"""Where a checkpoint is: a bundled name, a folder, or an id on the Hugging Face hub.

Downloads take JSON, plain text, vocabularies of sentencepiece (``*.model``) and safetensors only:
never a pickle, never code.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.core.resources import bundled, bundled_names
from audit.models.encoder import write_note

HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
# the hub account that converts pickled weights, and the name under which its result is noted
BOT, CONVERTED = "SFconvertbot", "clip-audit-safetensors"
DOWNLOADED = ("model.safetensors", "model-*-of-*.safetensors", "*.json", "*.txt",
              "*.model", "README.md")  # fmt: skip


def find(ref: str) -> tuple[Path, str]:
    """The folder of a checkpoint, downloaded if need be, and the name that a report quotes.

    Raises:
        InputError: neither a bundled name, a folder nor a hub id; no network, no such repository.
    """
    folder = here(ref)
    if folder is not None:
        return folder, quoted(ref)
    hub = hub_id(ref)
    found = _download(hub["repo"], hub["revision"])
    return found, f"{hub['repo']}@{found.name[:12]}"


def quoted(ref: str) -> str:
    """A path as one would give it here, where suites hold it in full; any other name as it is."""
    with contextlib.suppress(ValueError):
        return str(Path(ref).relative_to(Path.cwd()))
    return ref


def here(ref: str) -> Path | None:
    """The folder of a bundled name, else of a path, if there is one."""
    if ref in bundled_names("models"):
        return bundled("models") / ref
    folder = Path(ref).expanduser()
    return folder if ref and folder.is_dir() else None


def hub_id(ref: str) -> re.Match[str]:
    """The repository and revision that a reference names.

    Raises:
        InputError: it has not the form of a hub id.
    """
    hub = None if ref.startswith(".") else HUB_ID.fullmatch(ref)
    if hub is None:
        raise _no_such_model(ref)
    return hub


def _no_such_model(ref: str) -> InputError:
    known = bundled_names("models")
    return InputError(
        f"no model named '{ref}', and no such folder",
        suggest(ref, known),
        f"A model is a bundled name ({', '.join(known) or 'none is bundled'}), a folder that "
        "holds a CLIP, SigLIP or other model of two towers as transformers saves it, or a hub "
        "id like openai/clip-vit-base-patch32",
        "'clip-audit list models' shows what there is, and how it is named.",
    )


def _download(repo: str, revision: str | None) -> Path:
    """The newest snapshot of a hub repository, downloaded if needed, pickled weights left out."""
    with _in_words(repo, revision):
        found = _snapshot(repo, revision)
        if revision is None and not any(found.glob("model*.safetensors")):
            found = _converted(repo, found)
    return found


def fetch(ref: str, wanted: Sequence[str]) -> Path:
    """A folder with those files of a hub repository that fit ``wanted``, downloaded if need be.

    Raises:
        InputError: it has not the form of a hub id; no network, no such repository.
    """
    hub = hub_id(ref)
    with _in_words(hub["repo"], hub["revision"]):
        return _snapshot(hub["repo"], hub["revision"], wanted=wanted)


def fetched(ref: str, wanted: Sequence[str]) -> Path | None:
    """What ``fetch`` gave before, if it is whole; asks no network.

    Raises:
        InputError: it has not the form of a hub id.
    """
    from huggingface_hub import errors

    hub = hub_id(ref)
    with contextlib.suppress(errors.LocalEntryNotFoundError, errors.HFValidationError):
        return _snapshot(hub["repo"], hub["revision"], local=True, wanted=wanted)
    return None


@contextlib.contextmanager
def _in_words(repo: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the hub or the network answers into a sentence."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repo}: the hub asks for terms to be accepted first. Accept them on "
            f"{constants.ENDPOINT}/{repo}, then 'hf auth login' and retry."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise _no_such_repository(repo) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repo}: the hub has no revision '{revision}' of it.") from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError) as error:
        raise _offline(repo) from error
    except ValueError as error:  # no JSON, where the hub answers in JSON
        told = f"{repo}: {constants.ENDPOINT} answers what no hub does: {error}"
        advice = "Is a proxy or a page to sign in between? Does HF_ENDPOINT name a hub?"
        raise InputError(told, advice) from error
    except OSError as error:
        raise InputError(
            f"{repo}: the download could not be written: {error}. Make room, or set HF_HOME to a "
            "folder with room."
        ) from error


def _snapshot(
    repo: str, revision: str | None, local: bool = False, wanted: Sequence[str] = DOWNLOADED
) -> Path:
    from huggingface_hub import snapshot_download

    found = snapshot_download(
        repo, revision=revision, allow_patterns=[*wanted], ignore_patterns="*/*",
        local_files_only=local,
    )  # fmt: skip
    return Path(found)


def downloaded(ref: str) -> Path | None:
    """The folder in which a hub id lies since it was downloaded, if it is whole; asks no network.

    Raises:
        InputError: it has not the form of a hub id.
    """
    from huggingface_hub import errors

    hub = hub_id(ref)
    try:
        found = _snapshot(hub["repo"], hub["revision"], local=True)
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    if hub["revision"] is None and not any(found.glob("model*.safetensors")):
        return _converted_before(hub["repo"], found)
    return found


def on_this_machine(ref: str) -> Path | None:
    """The folder of a model that needs no download; None where nothing here has this name."""
    if (folder := here(ref)) is not None:
        return folder if (folder / "config.json").is_file() else None
    return downloaded(ref) if HUB_ID.fullmatch(ref) else None


def _converted_before(repo: str, pickled: Path) -> Path | None:
    """The snapshot that ``_converted`` found before."""
    from huggingface_hub import errors

    with contextlib.suppress(errors.LocalEntryNotFoundError):
        if _note(pickled).is_file():
            return _snapshot(repo, CONVERTED, local=True)
    return None


def _note(pickled: Path) -> Path:
    return pickled.parent.parent / "refs" / CONVERTED


def _converted(repo: str, pickled: Path) -> Path:
    """The snapshot in which the hub's own bot offers safetensors of a pickled repository, if any.

    ``openai/clip-vit-base-patch32`` needs it. Which snapshot that was is noted beside the hub's own
    references, so that the next run finds it without a network.
    """
    if (before := _converted_before(repo, pickled)) is not None:
        return before
    revision = _proposed_by_bot(repo)
    if revision is None:
        return pickled
    found = _snapshot(repo, revision)
    write_note(_note(pickled), found.name)
    return found


def _proposed_by_bot(repo: str) -> str | None:
    """The revision of the bot's proposal; anybody can open one, and a stranger's is not taken."""
    from huggingface_hub import errors, get_repo_discussions

    try:
        for proposal in get_repo_discussions(repo, author=BOT):
            if proposal.is_pull_request and proposal.author == BOT:
                reference: str | None = proposal.git_reference
                return reference
    except errors.HfHubHTTPError:
        raise
    except Exception as error:  # whatever the HTTP library in use raises without a network
        raise ConnectionError(str(error)) from error
    return None


def _no_such_repository(repo: str) -> InputError:
    known = bundled_names("models")
    return InputError(
        f"no folder and no model on the Hugging Face hub is called '{repo}'",
        suggest(repo, known),
        "Check the spelling on https://huggingface.co/models; a private model needs "
        "'hf auth login' first.",
    )


def _offline(repo: str) -> InputError:
    known = bundled_names("models")
    example = f" ({', '.join(known)})" if known else ""
    return InputError(
        f"{repo}: not on this machine, and the Hugging Face hub can't be reached. Three ways out: "
        "connect (and unset HF_HUB_OFFLINE) and retry; or, on a machine with a network, 'hf "
        f"download {repo}', copy the folder here and give its path as the model; or use a bundled "
        f"specimen{example}."
    )
