"""No source file and no function may be longer than one reads at once."""

import sys

from tests.lint import sources
from tests.lint.functions import functions

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def long_files() -> list[str]:
    """A message for each file that is too long."""
    lines = {
        name: sources.read(name).count("\n")
        for name in sources.of("C++", "Python", "proto", "bash")
    }
    return [
        f"{name}: {count} lines, {FILE_LINES_MAX} at most"
        for name, count in lines.items()
        if count > FILE_LINES_MAX
    ]


def long_functions() -> list[str]:
    """A message for each function that is too long."""
    return [
        f"{name}:{each.line}: {each.name}: {each.lines} lines, {FUNCTION_LINES_MAX} at most"
        for name in sources.of("C++", "Python", "bash")
        for each in functions(sources.read(name), sources.language(name))
        if each.lines > FUNCTION_LINES_MAX
    ]


if __name__ == "__main__":
    found = {"files": long_files, "functions": long_functions}[sys.argv[1]]()
    print("\n".join(found))
    sys.exit(1 if found else 0)
