"""The bundled model on both sides, and the largest differences, printed at the end."""

import pytest

from tests.lens import theirs
from tests.support.server import Server

_differences: dict[str, float] = {}


@pytest.fixture(scope="session")
def ours(server):
    """The model as `scalpel.lens` has it."""
    from scalpel import lens

    with lens.connect(server.address) as model:
        yield model


@pytest.fixture(scope="session")
def library(model_dir):
    """The same in TransformerLens, whose weights are as they are stored."""
    return _loaded(model_dir)


@pytest.fixture(scope="session")
def short(model_dir, tmp_path_factory):
    """The model's first two layers, in both: (ours, theirs)."""
    from scalpel import lens

    folder = theirs.shorter(model_dir, tmp_path_factory.mktemp("lens") / "short", layers=2)
    with Server(model=folder) as server, lens.connect(server.address) as model:
        yield model, _loaded(folder)


def _loaded(folder):
    import torch

    torch.set_grad_enabled(False)
    return theirs.load(folder, processing=False)


@pytest.fixture
def agree(request):
    """`agree(ours, theirs)`: two tensors are the same but for rounding. Keeps the difference."""

    def compare(mine, other) -> None:
        difference = theirs.difference(mine, other)
        name = request.node.originalname
        _differences[name] = max(_differences.get(name, 0.0), difference)
        assert difference <= theirs.TOLERANCE

    return compare


def pytest_terminal_summary(terminalreporter):
    if _differences:
        version = ".".join(map(str, theirs.version()))
        terminalreporter.section(f"lens, largest difference from TransformerLens {version}")
        for name, largest in _differences.items():
            terminalreporter.write_line(f"{name:45} {largest:.1e}")
