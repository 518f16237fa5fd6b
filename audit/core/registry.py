"""Named things: looking one up, suggesting the nearest name, plugins from other packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from audit.core.characters import apart, plain, spelt
from audit.core.errors import InputError

T = TypeVar("T")


def suggest(name: str, known: Iterable[str]) -> str | None:
    """'Did you mean ...?' for the nearest known name, or None where nothing is near.

    Of one that looks the same it says how it differs.
    """
    lowered = {k.lower(): k for k in known}
    looks = plain(name)
    for low, same in lowered.items():
        if low != name.lower() and plain(low) == looks:
            return f"Did you mean '{spelt(same)}'? It and '{spelt(name)}' {apart((same, name))}."
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"Did you mean '{lowered[near[0]]}'?" if near else None


def unknown(
    what: str, name: str, known: Iterable[str], *, where: str = "", see: str = ""
) -> InputError:
    """The error for a name that isn't there: where, the name, the nearest one, where to look."""
    names = sorted(known)
    place = f"{where}: " if where else ""
    listing = None if see else f"Known: {', '.join(names) or 'none'}."
    return InputError(
        f"{place}no {what} named '{name}'", suggest(name, names), see or None, listing
    )


def _imported(place: str) -> object:
    """The thing at 'module:name'."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


@lru_cache
def _offered(read: Callable[..., Iterable[EntryPoint]], group: str) -> tuple[EntryPoint, ...]:
    """What installed packages offer; read once, since it takes some hundredths of a second."""
    return tuple(read(group=group))


class Registry(Generic[T], Mapping[str, T]):
    """Things by name: those registered here and those other packages offer by entry point.

    A package adds a probe with the entry point group ``clip_audit.probes``, say; it is imported
    only when asked for by name.
    """

    def __init__(
        self,
        what: str,
        group: str,
        see: str,
        own: Mapping[str, str] | None = None,
        complete: Callable[[str, Any], T] | None = None,
    ) -> None:
        """``what`` names one item in messages, ``group`` its entry points, ``see`` the way on.

        ``own`` are this package's, 'module:name', which are imported when asked for. ``complete``
        makes an item of what a package offers under a name, where it may offer less than one.
        """
        self.what, self.group, self.see, self._own = what, group, see, dict(own or {})
        self._items: dict[str, T] = {}
        self._complete = complete or (lambda name, offered: offered)

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files the decorated thing under ``name``; a name is taken once."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.what} '{name}' is registered twice")
            self._items[name] = self._complete(name, item)
            return item

        return add

    def _plugins(self) -> Mapping[str, Callable[[], object]]:
        found = {e.name: partial(self._offer, e) for e in _offered(entry_points, self.group)}
        return found | {name: partial(_imported, place) for name, place in self._own.items()}

    def _offer(self, offered: EntryPoint) -> object:
        """What another package offers.

        Raises:
            InputError: that package is not what it says, or can't be imported.
        """
        try:
            return offered.load()
        except Exception as error:  # it is code of anybody
            package = f" by {offered.dist.name}" if offered.dist else ""
            told = f"{self.what} '{offered.name}' is offered{package} as {offered.value}, which"
            why = f"{told} can't be imported: {type(error).__name__}: {error}"
            raise InputError(why, "Mend, update or uninstall that package") from error

    def __getitem__(self, name: str) -> T:
        if name in self._items:
            return self._items[name]
        if name in self._own:  # without asking every installed package what it offers
            return cast(T, _imported(self._own[name]))
        plugins = self._plugins()
        if name in plugins:
            return self._complete(name, plugins[name]())
        raise unknown(self.what, name, self, see=self.see)

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._plugins()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._items, *self._plugins()}))

    def __len__(self) -> int:
        return len({*self._items, *self._plugins()})
