"""Steps, and what is made once."""

import pathlib
import threading
import time

import pytest

from tests.run import places
from tests.run.locks import locked
from tests.run.process import Stop
from tests.run.steps import Steps, Unprepared
from tests.run.venv import venv


@pytest.fixture(autouse=True)
def build(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "BUILD", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_step_says_that_it_begins_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    Steps(Stop()).run("a thing", ["echo", "hidden"])
    assert capfd.readouterr().err == "  a thing ...\n  a thing: 0 s\n"


def test_a_step_that_fails_shows_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unprepared):
        Steps(Stop()).run("a thing", ["sh", "-c", "echo reason; exit 1"])
    err = capfd.readouterr().err
    assert "  a thing: failed after 0 s:\nreason\n  (the whole output: " in err


def test_once_for_all_who_ask(tmp_path: pathlib.Path) -> None:
    steps, made, got = Steps(Stop()), [], []

    def make() -> pathlib.Path:
        made.append(1)
        time.sleep(0.1)
        return tmp_path

    threads = [
        threading.Thread(target=lambda: got.append(steps.once("it", make))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (made, got) == ([1], [tmp_path] * 4)


def test_what_fails_fails_for_all_and_is_not_tried_again() -> None:
    steps, tried = Steps(Stop()), []

    def make() -> pathlib.Path:
        tried.append(1)
        raise Unprepared("it")

    for _ in range(2):
        with pytest.raises(Unprepared):
            steps.once("it", make)
    assert tried == [1]


def test_a_venv_is_made_once_for_its_content(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# Nothing.\n")
    folder = venv(Steps(Stop()), "empty", [requirements])
    assert folder.name.startswith("venv-empty-") and (folder / "bin" / "python").exists()
    assert "Python packages for empty: " in capfd.readouterr().err
    assert venv(Steps(Stop()), "empty", [requirements]) == folder
    assert capfd.readouterr().err == ""
    requirements.write_text("# Something else.\n")
    assert venv(Steps(Stop()), "empty", [requirements]) != folder


def test_a_wrong_checksum_leaves_no_venv(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    wheel.write_bytes(b"not what was pinned")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"thing @ file://{wheel} --hash=sha256:{'0' * 64}\n")
    for _ in range(2):
        with pytest.raises(Unprepared):
            venv(Steps(Stop()), "wrong", [requirements])
        assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_another_process_waits_for_the_lock(tmp_path: pathlib.Path) -> None:
    order = []

    def other() -> None:
        with locked(tmp_path / "thing"):
            order.append("other")

    thread = threading.Thread(target=other)
    with locked(tmp_path / "thing"):
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
