"""Which calls belong together, for a proxy before several servers (deploy/edge)."""

from __future__ import annotations

import hashlib
from typing import Any


def affinity(request: Any) -> str | None:
    """The same for all calls whose first prompt is the same, so that a proxy that hashes it leads
    them to the server that knows the prompt. A hash of it, because proxies log what goes with a
    call. None where there are no prompts."""
    if not request.prompts:
        return None
    return hashlib.sha256(request.prompts[0].SerializeToString()).hexdigest()[:16]
