"""How each suite is prepared, and the processes that it consists of."""

import dataclasses
import os
import pathlib
import secrets
from collections.abc import Callable, Mapping

from tests.run import places
from tests.run.tools import Tools
from tests.run.venv import python_of

# Requirements, from tests/.
_BASE = "requirements.txt"
_DASK = "python/requirements-dask.txt"
_LINT = "requirements-lint.txt"
_WITH_RAY = "tests/python/test_spread_ray.py"


@dataclasses.dataclass(frozen=True)
class Part:
    """A process of a suite. {xml} in the command is where its results go, as JUnit XML."""

    command: tuple[str, ...]
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _pytest(
    tools: Tools,
    python: str,
    arguments: tuple[str, ...],
    variables: Mapping[str, str] | None = None,
) -> Part:
    stubs = tools.stubs()
    always = {
        "PYTHONPATH": f"{places.ROOT}{os.pathsep}{stubs}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "SCALPEL_GRPCURL": str(tools.grpcurl()),
        "SCALPEL_SERVER": str(places.BUILD / "server" / "scalpel-server"),
        "SCALPEL_CLI": str(places.BUILD / "client" / "cpp" / "scalpel-cli"),
        "SCALPEL_MODEL_DIR": str(places.ROOT / "deploy" / "demo-model"),
        "SCALPEL_PROTO_PYTHON": str(stubs),
    }
    flags = ("-p", "no:cacheprovider", "-q", "--strict-markers", "--junitxml={xml}")
    command = (python, "-m", "pytest", *flags, *arguments)
    return Part(command, {**always, **(variables or {})})


def _client(tools: Tools) -> dict[str, str]:
    """The Python client's wheel, which has the stubs too, and what its own tests look for."""
    wheel = tools.client()
    folder = str(wheel.parent / "unpacked")
    ends = {
        f"SCALPEL_PYTHON_{end.upper()}": python_of(
            tools.venv(f"client-{end}", f"python/requirements-{end}.txt")
        )
        for end in ("oldest", "newest")
    }
    return {
        "PYTHONPATH": f"{places.ROOT}{os.pathsep}{folder}",
        "SCALPEL_PROTO_PYTHON": folder,
        "SCALPEL_PYTHON_BUILD": python_of(tools.client_build_venv()),
        "SCALPEL_CLIENT_WHEEL": str(wheel),
        **ends,
    }


def plain(*arguments: str) -> Callable[[Tools], list[Part]]:
    """pytest in the environment that most suites share."""
    return lambda tools: [_pytest(tools, python_of(tools.tests_venv()), arguments)]


def _unit_tests(build: pathlib.Path, **variables: str) -> list[Part]:
    """The unit tests of one build. Their files are in a folder of the build's own: variants and
    clones run beside each other."""
    folder = build / "tests" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    command = (str(build / "tests" / "unit_tests"), "--gtest_brief=1", "--gtest_output=xml:{xml}")
    return [Part(command, {"TEST_TMPDIR": str(folder), **variables})]


def unit(_: Tools) -> list[Part]:
    return _unit_tests(places.BUILD)


def sanitizer(_: Tools) -> list[Part]:
    return _unit_tests(places.ROOT / "build-sanitize", UBSAN_OPTIONS="print_stacktrace=1")


def tsan(_: Tools) -> list[Part]:
    return _unit_tests(places.ROOT / "build-tsan")


def fuzz(tools: Tools) -> list[Part]:
    """Half of the targets each, one after the other: a target has one thread."""
    python = python_of(tools.tests_venv())
    variables = {"PYTHONPATH": f"{places.ROOT}{os.pathsep}{tools.stubs()}"}
    command = (python, "-B", "-m", "tests.fuzz", "{xml}")
    return [Part((*command, half), variables) for half in ("1/2", "2/2")]


def lint(tools: Tools) -> list[Part]:
    tools.client()  # mypy reads the contract's modules, which are generated with the wheel.
    variables = {
        "SCALPEL_BUF": str(tools.buf()),
        "SCALPEL_LINT": str(tools.venv("lint", _BASE, _LINT) / "bin"),
        "SCALPEL_LIBTORCH": str(places.libtorch()),
    }
    return [Part((places.PYTHON, "-B", "-m", "tests.lint", "{xml}"), variables)]


def python(tools: Tools) -> list[Part]:
    python = python_of(tools.venv("client", _BASE, _LINT, "python/requirements.txt", _DASK))
    arguments = ("tests/python", f"--ignore={_WITH_RAY}", "-m", "not live")
    return [_pytest(tools, python, arguments, _client(tools))]


def ray(tools: Tools) -> list[Part]:
    """In an environment of its own, so that the others are made without Ray."""
    python = python_of(
        tools.venv("ray", _BASE, "python/requirements.txt", "python/requirements-ray.txt")
    )
    # No reports to Ray's makers; a token that is not in a file of the home folder.
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return [_pytest(tools, python, (_WITH_RAY,), {**_client(tools), **variables})]


def languages(tools: Tools) -> list[Part]:
    path = {"PATH": f"{tools.node()}{os.pathsep}{os.environ['PATH']}"}
    return [_pytest(tools, python_of(tools.tests_venv()), ("tests/languages",), path)]


def docs(tools: Tools) -> list[Part]:
    python = python_of(tools.venv("docs", _BASE, "docs/requirements.txt", _DASK))
    return [_pytest(tools, python, ("tests/docs", "-m", "not live"), _client(tools))]


def deploy(tools: Tools) -> list[Part]:
    variables = {
        "SCALPEL_KUSTOMIZE": str(tools.kustomize()),
        "SCALPEL_NGINX": str(tools.debian("nginx") / "usr" / "sbin" / "nginx"),
        "SCALPEL_PROMETHEUS": str(tools.debian("prometheus") / "usr" / "bin"),
    }
    python = python_of(tools.venv("deploy", _BASE, "deploy/requirements.txt"))
    return [_pytest(tools, python, ("tests/deploy",), variables)]


def live(tools: Tools) -> list[Part]:
    """Two halves of the same length, each with one of torch's threads."""
    python = python_of(tools.venv("live", _BASE, "parity/requirements.txt"))
    variables = {
        "SCALPEL_NPM_GPT2": str(tools.gpt2_vocabulary()),
        "OMP_NUM_THREADS": "1",
        **_client(tools),
    }
    tokenizer = "tests/parity/test_tokenizer.py"
    ours = ("tests/python/test_torch.py", "tests/python/test_paths_torch.py")
    others = ("tests/oracle", "tests/field", "tests/bench", *ours)
    return [
        _pytest(tools, python, ("tests/parity", f"--ignore={tokenizer}", "-m", "live"), variables),
        _pytest(tools, python, (tokenizer, *others, "-m", "live"), variables),
    ]


def migration(tools: Tools) -> list[Part]:
    """In the environment of the benchmark, which has the other libraries."""
    python = python_of(tools.venv("bench", "bench/requirements.txt"))
    arguments = ("tests/docs/test_migration.py", "-m", "live")
    return [_pytest(tools, python, arguments, _client(tools))]


def lens(tools: Tools) -> list[Part]:
    """In the environment of the benchmark, which has TransformerLens 2, and again with versions 3
    and 4 laid over it, each over the one before: torch is there once."""
    python = python_of(tools.venv("bench", "bench/requirements.txt"))
    variables = {"OMP_NUM_THREADS": "1", **_client(tools)}
    made = [_pytest(tools, python, ("tests/lens", "-m", "live"), variables)]
    for version in ("3", "4"):
        folder = tools.venv(f"lens-{version}", f"lens/requirements-{version}.txt")
        (packages,) = folder.glob("lib/python3*/site-packages")
        path = f"{packages}{os.pathsep}{variables['PYTHONPATH']}"
        variables = {**variables, "PYTHONPATH": path}
        made.append(_pytest(tools, python, ("tests/lens", "-m", "live"), variables))
    return made
