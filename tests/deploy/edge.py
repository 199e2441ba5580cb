"""The edge as it ships, deploy/edge/nginx.conf, run by Debian's nginx in front of given servers."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import grpc

from tests.support import environment

CONFIGURATION = environment.ROOT / "deploy" / "edge" / "nginx.conf"
RATE = "rate=50r/s"


def nginx_binary() -> str:
    """`./scalpel test` says it; otherwise Debian keeps it where only root's PATH leads."""
    given = os.environ.get("SCALPEL_NGINX")
    return given or shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"


class Edge:
    """nginx with the shipped configuration. What differs: the port, the certificate, the servers,
    which the configuration reads from files of their own, and the rate that one address may have
    where a test says so."""

    def __init__(self, folder: pathlib.Path, servers: list[str], rate: str = RATE):
        self.folder = folder
        self.port = free_port()
        self.log_path = folder / "log.txt"
        text = CONFIGURATION.read_text()
        assert text.count("8443") == 1 and text.count(RATE) == 1, "what is to be replaced"
        text = text.replace("8443", str(self.port)).replace(RATE, rate)
        (folder / "nginx.conf").write_text(text)
        (folder / "replicas").mkdir()
        self.set_servers(servers)
        self.certificate = make_certificate(folder / "tls")
        self.process: subprocess.Popen | None = None

    def set_servers(self, servers: list[str], down: tuple[str, ...] = ()) -> None:
        """Those that are down get no new calls; their places on the ring stay theirs."""
        lines = [
            f"server {server} {'down' if server in down else 'max_fails=1 fail_timeout=10s'};\n"
            for server in servers
        ]
        (self.folder / "replicas" / "servers.conf").write_text("".join(lines))

    def reload(self) -> None:
        """Returns when new calls go by the configuration as it now is."""
        before = self._workers()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while not self._workers() - before:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        # The old workers have closed their listening sockets once their title says that they end.
        while any("shutting down" not in self._title(pid) for pid in before & self._workers()):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def _workers(self) -> set[str]:
        pid = self.process.pid
        return set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def _title(self, pid: str) -> str:
        try:
            return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
        except FileNotFoundError:
            return "shutting down"

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def channel(self) -> grpc.Channel:
        """A connection of its own, not shared with other channels to the same address."""
        credentials = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(self.address, credentials, options)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def __enter__(self) -> "Edge":
        command = [nginx_binary(), "-e", "stderr", "-p", str(self.folder), "-c", "nginx.conf"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*command, "-g", "daemon off;"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 20
        while not accepts(self.port):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def make_certificate(folder: pathlib.Path) -> pathlib.Path:
    """A key and a certificate that signs itself, for localhost, as the README makes them."""
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / "tls.crt"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
