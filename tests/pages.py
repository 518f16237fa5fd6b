"""Pages of the dashboard without a browser."""

from __future__ import annotations

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

__all__ = ["AppTest"]

# every page would look for parts of pages in all packages that are installed, a fifth of a second
# each; the dashboard uses none
manifest_scanner.scan_component_manifests = lambda *given: []  # type: ignore[assignment]
