from __future__ import annotations

from tests.support.one_browser import anyio_backend, browser

__all__ = ["anyio_backend", "browser"]
