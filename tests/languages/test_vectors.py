"""Every program assembles the streams that ship, and notices when one of them is not as it was."""

import hashlib
import pathlib
import shutil

import pytest

from tests.languages import make_vectors

FOLDER = make_vectors.FOLDER


def test_vectors_are_what_the_script_writes(tmp_path):
    make_vectors.write_all(tmp_path)
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    shipped = {file.name: file.read_bytes() for file in FOLDER.iterdir()}
    del shipped["README.md"]
    assert shipped == written


def test_sums_are_of_the_numbers_that_ship():
    for number, line in enumerate((FOLDER / "tensors.txt").read_text().splitlines()):
        numbers = (FOLDER / f"tensors.{number}.f32").read_bytes()
        assert line.split()[-1] == hashlib.sha256(numbers).hexdigest()


def test_every_program_agrees(checker):
    done = checker.check_vectors(FOLDER)
    assert done.returncode == 0, done.stderr
    streams = sorted(FOLDER.glob("*.bin"))
    lines = []
    for stream in streams:
        lines += [f"stream {stream.stem}", *stream.with_suffix(".txt").read_text().splitlines()]
    assert done.stdout.splitlines() == [*lines, f"{len(streams)} streams agree"]


def another_number(folder: pathlib.Path) -> None:
    stream = folder / "tensors.bin"
    number, other = b"\x00\x00\x20\x40", b"\x00\x00\x30\x40"  # 2.5 and 2.75
    assert stream.read_bytes().count(number) == 1
    stream.write_bytes(stream.read_bytes().replace(number, other))


def another_shape(folder: pathlib.Path) -> None:
    lines = folder / "tensors.txt"
    lines.write_text(lines.read_text().replace("2x4x2", "4x2x2"))


def one_tensor_less(folder: pathlib.Path) -> None:
    lines = folder / "tensors.txt"
    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]))


def sound_where_broken_is_expected(folder: pathlib.Path) -> None:
    (folder / "gap.bin").write_bytes((folder / "tensors.bin").read_bytes())
    (folder / "gap.txt").write_text((folder / "tensors.txt").read_text() + "broken\n")


@pytest.mark.parametrize(
    "change",
    [another_number, another_shape, one_tensor_less, sound_where_broken_is_expected],
    ids=lambda change: change.__name__,
)
def test_every_program_notices(checker, tmp_path, change):
    folder = tmp_path / "vectors"
    shutil.copytree(FOLDER, folder)
    assert checker.check_vectors(folder).returncode == 0
    change(folder)
    done = checker.check_vectors(folder)
    assert done.returncode == 1 and "agree" not in done.stdout
    assert "not what the .txt file says" in done.stderr


def test_every_program_refuses_a_folder_without_streams(checker, tmp_path):
    done = checker.check_vectors(tmp_path)
    assert done.returncode == 1 and "agree" not in done.stdout
