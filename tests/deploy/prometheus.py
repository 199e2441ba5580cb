"""Debian's Prometheus with the configuration that ships; what differs are the servers' addresses
and the time between scrapes."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

import yaml

from tests.deploy.edge import free_port
from tests.support import environment

CONFIGURATION = environment.ROOT / "deploy" / "observability" / "prometheus"


def binary(name: str) -> str:
    """`prometheus` or `promtool`: `./scalpel test` says where both are."""
    folder = os.environ.get("SCALPEL_PROMETHEUS")
    return f"{folder}/{name}" if folder else shutil.which(name) or name


class Prometheus:
    def __init__(self, folder: pathlib.Path, targets: list[str]):
        self.folder = folder
        self.port = free_port()
        configuration = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
        (job,) = configuration["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": targets}]
        configuration["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        shutil.copy(CONFIGURATION / "alerts.yml", folder)
        self.log_path = folder / "log.txt"

    def __enter__(self) -> "Prometheus":
        command = [binary("prometheus"), f"--config.file={self.folder}/prometheus.yml"]
        command += [f"--storage.tsdb.path={self.folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def get(self, path: str, **arguments: str) -> dict:
        """What its API answers, once it does."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]
            except urllib.error.HTTPError as error:
                if error.code != 503:  # not ready yet
                    raise AssertionError(error.read().decode()) from None
            except urllib.error.URLError:
                pass
            assert self.process.poll() is None and time.monotonic() < deadline, self._log()
            time.sleep(0.1)

    def query(self, expression: str) -> list[dict]:
        """The series of an instant query. A wrong expression raises."""
        return self.get("query", query=expression)["result"]

    def _log(self) -> str:
        return self.log_path.read_text(errors="replace")
