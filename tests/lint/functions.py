"""Where functions begin and end, in C++, Python and bash."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple


class Function(NamedTuple):
    name: str
    line: int
    lines: int


def functions(text: str, language: str) -> list[Function]:
    """The functions of a source, from the first line of their signature to their last; not those
    within C++ functions and bash functions."""
    find = {"C++": _of_cpp, "Python": _of_python, "bash": _of_bash}[language]
    return list(find(text))


def _of_python(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            yield Function(node.name, node.lineno, last - node.lineno + 1)


def _of_bash(text: str) -> Iterator[Function]:
    name, begin = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.fullmatch(r"(\w+)\(\) [{(].*", line):
            name, begin = match[1], number
        if name and re.search(r"^[})]|; \}$|\S \)$", line):
            yield Function(name, begin, number - begin + 1)
            name = ""


# --- C++, as clang-format writes it --------------------------------------------------------------

# Comments, strings, characters (but not the ' in 1'000) and preprocessor lines.
_NO_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)" | "(?:\\.|[^"\\\n])*"
    | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+' | ^[ ]*\#(?:[^\n]*\\\n)*[^\n]*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_BEFORE = re.compile(r"\s*(?:(?:public|private|protected):|template\s*<(?:[^<>]|<[^<>]*>)*>)?\s*")
_ASSIGNED = re.compile(r"(?<![=!<>])=(?!=)")


def _of_cpp(text: str) -> Iterator[Function]:
    code = _NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    # What each open brace opened: a scope, in which functions may stand, a function, or other.
    opened: list[str] = []
    begin, parentheses = 0, 0
    function = (0, "")
    for match in re.finditer(r"[{}();]", code):
        at, mark = match.start(), match[0]
        if mark in "()":
            parentheses += 1 if mark == "(" else -1
            continue
        if mark == "{":
            kind, start, name = _opens(code, begin, at)
            if parentheses or (opened and opened[-1] != "scope"):
                kind = "other"
            elif kind == "function":
                function = start, name
            opened.append(kind)
        elif mark == "}":
            kind = opened.pop() if opened else "other"
            if kind == "function":
                first = code.count("\n", 0, function[0])
                yield Function(function[1], first + 1, code.count("\n", 0, at) - first + 1)
        else:
            kind = "statement"
        # A head goes on after `member_{value}`.
        if kind != "other" and not parentheses:
            begin = at + 1


def _opens(code: str, begin: int, brace: int) -> tuple[str, int, str]:
    """What a brace opens, where its head starts, and the name of the function."""
    start, before = begin, None
    while before != start:
        before = start
        matched = _BEFORE.match(code, start, brace)
        start = matched.end() if matched else start
    head = code[start:brace]
    if re.match(
        r"(?:(?:inline|typedef|static|const)\s+)*(?:namespace|class|struct|union|enum|extern)\b",
        head,
    ):
        return "scope", start, ""
    signature, parenthesis, _ = head.partition("(")
    plain = "operator" in signature or not _ASSIGNED.search(signature)
    # `member_{value}` of a constructor has no space before its brace.
    if parenthesis and plain and head[-1:].isspace():
        return "function", start, " ".join(signature.split()[-1:])
    return "other", start, ""
