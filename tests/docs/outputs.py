"""Whether what a block printed is what the page shows."""

import math
import re

_FLOAT = r"[-+]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?"
# An ellipsis, a number with a point or an exponent, space, or anything else.
_PART = re.compile(r"(\.\.\.)|([-+]?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+))|(\s+)|(.)")
# numpy leaves room for a sign.
_AFTER_BRACKET = re.compile(r"([\[(])\s+")
# Three significant digits: at worst, 1.00 may be anything up to 1.005.
_RELATIVE = 5e-3


def agree(shown: str, printed: str) -> bool:
    """Numbers with a point to three significant digits, or to one in the last digit that is shown;
    space by where it is, not how much; all else exactly. `...` stands for anything."""
    pattern, numbers = "", []
    shown, printed = (_AFTER_BRACKET.sub(r"\1", text.strip()) for text in (shown, printed))
    for match in _PART.finditer(shown):
        ellipsis, number, space, other = match.groups()
        if ellipsis:
            pattern += r"[\s\S]*?"
        elif number:
            pattern += f"({_FLOAT})"
            numbers.append(number)
        else:
            pattern += r"\s+" if space else re.escape(other)
    found = re.fullmatch(pattern, printed)
    return found is not None and all(map(_close, numbers, found.groups()))


def _close(shown: str, printed: str) -> bool:
    digits = shown.partition("e")[0].partition(".")[2]
    exponent = int(shown.partition("e")[2] or 0)
    last = 10.0 ** (exponent - len(digits))
    value = float(printed.replace(",", ""))
    return math.isclose(float(shown), value, rel_tol=_RELATIVE, abs_tol=1.001 * last)
