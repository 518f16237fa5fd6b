"""Which data set and subject a stored picture belongs to, so that it can be purged."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit.store.shelf import picture_key, private, sealed, text_digest, unsealed, write


@dataclass(frozen=True)
class Use:
    """That a dataset uses a picture; the subject only as a digest."""

    image_id: str
    cluster: str
    pixels: str
    alteration: str

    @property
    def key(self) -> bytes:
        """The key of the picture on its shelf."""
        return picture_key(self.pixels, self.alteration)


def subject_digest(cluster_id: str) -> str:
    """What stands for a subject in the store."""
    return text_digest(str(cluster_id))


class Uses:
    """Which pictures a dataset uses, so that they can be found again to be purged."""

    def __init__(self, folder: Path, dataset: str, clusters: Mapping[str, str]) -> None:
        self.folder = folder / text_digest(dataset)[:32]
        self._clusters = clusters
        self._known = {use for _, uses in self._files() for use in uses}

    def add(self, pictures: Iterable[tuple[str, str, str]]) -> None:
        """Note (image id, pixel digest, alteration) of pictures, those not yet noted."""
        noted = {Use(i, self._cluster(i), pixels, how) for i, pixels, how in pictures}
        if new := noted - self._known:
            self._save(new)
            self._known |= new

    @property
    def clusters(self) -> set[str]:
        """Digests of the subjects whose pictures are noted; blank of a picture without one."""
        return {use.cluster for use in self._known}

    def forget(self, wanted: Callable[[Use], bool]) -> list[Use]:
        """Take out the uses that are wanted, and return them."""
        files = self._files()
        gone = [use for use in self._known if wanted(use)]
        self._known -= {*gone}
        if self._known and gone:
            self._save(self._known)
        for path, _ in files if gone else ():
            path.unlink(missing_ok=True)
        return gone

    def _cluster(self, image_id: str) -> str:
        cluster = self._clusters.get(image_id)
        return "" if cluster is None else subject_digest(cluster)

    def _save(self, uses: Iterable[Use]) -> None:
        private(self.folder)
        rows = sorted([u.image_id, u.cluster, u.pixels, u.alteration] for u in uses)
        path = self.folder / f"{uuid.uuid4().hex}.uses"
        write(path, sealed(json.dumps(rows).encode()))

    def _files(self) -> list[tuple[Path, list[Use]]]:
        found = []
        for path in sorted(self.folder.glob("*.uses")):
            content = unsealed(path)
            if content is not None:
                found.append((path, [Use(*row) for row in json.loads(content)]))
        return found
