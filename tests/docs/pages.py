"""Runs a page of the documentation: its blocks in order, in one namespace and one shell."""

import contextlib
import io
import os
import pathlib

import numpy as np
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from tests.docs import outputs
from tests.docs.shell import Shell, free_port, serves

# Where the pages say that the server is.
_PORT = "50051"


class Page:
    """A page, to be run once. `server_port`: of the server that runs unless the page starts one.
    With `commands` false only its Python runs."""

    def __init__(
        self, path: pathlib.Path, server_port: int, folder: pathlib.Path, commands: bool = True
    ):
        text = path.read_text("utf-8")
        port = free_port() if commands and serves(text) else server_port
        self._shell = Shell(folder, port)
        self._python = PythonEvaluator()
        # What the last block printed, and where it ended.
        self._printed, self._end = "", -1
        self.blocks = 0
        self._document = Document(text.replace(_PORT, str(port)), str(path))
        parsers = [CodeBlockParser("python", self._run_python)]
        if commands:
            parsers.append(CodeBlockParser("sh", self._run_shell))
        for parser in (*parsers, CodeBlockParser("text", self._compare), SkipParser()):
            for region in parser(self._document):
                self._document.add(region)

    def run(self) -> None:
        """Runs all blocks in the shell's folder; raises where one fails or prints something else
        than is shown. `blocks` says how many ran."""
        before = pathlib.Path.cwd()
        os.chdir(self._shell.folder)
        try:
            with np.printoptions():  # What a page sets ends with it.
                for example in self._document.examples():
                    example.evaluate()
        finally:
            os.chdir(before)
            self._shell.close()

    def _run_python(self, example: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self._python(example)
        self._done(example, printed.getvalue())

    def _run_shell(self, example: Example) -> None:
        self._done(example, self._shell.run(example.parsed))

    def _done(self, example: Example, printed: str) -> None:
        self._printed, self._end = printed, example.region.end
        self.blocks += 1

    def _compare(self, example: Example) -> None:
        if self._end < 0 or example.document.text[self._end : example.start].strip():
            return  # Not right after a block that ran: a picture.
        assert outputs.agree(example.parsed, self._printed), (
            f"{example.path}, line {example.line} shows\n{example.parsed}\n"
            f"but what was printed is\n{self._printed}"
        )
