"""What notebooks show."""

from __future__ import annotations

import html
from typing import Any


def _plain(result: Any) -> str:
    return f"<pre>{html.escape(repr(result))}</pre>"


run_html = sweep_html = stats_html = model_html = _plain
