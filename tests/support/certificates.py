"""Certificates for TLS, made by the `openssl` program: authorities, and what they sign."""

import dataclasses
import pathlib
import subprocess

import grpc

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
EXPIRED = -1  # as `days`: it ended yesterday


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each in a file."""

    certificate: pathlib.Path
    key: pathlib.Path


class Authority:
    """Signs certificates; who trusts `certificate` trusts them."""

    def __init__(self, folder: pathlib.Path, name: str):
        self._folder, self._name = folder, name
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(
            *("req", "-x509", *_KEY, "-subj", f"/CN={name}", "-days", "2"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def sign(self, name: str, days: int = 2) -> Certificate:
        """A certificate with this common name, for a server on loopback or for a client."""
        stem = self._folder / f"{self._name}-{name}"
        made = Certificate(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request = stem.with_suffix(".csr")
        _openssl(
            *("req", "-new", *_KEY, "-subj", f"/CN={name}", "-addext", _NAMES),
            *("-keyout", made.key, "-out", request),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-copy_extensions", "copy", "-days", str(days)),
            *("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", made.certificate),
        )
        return made


def channel_credentials(
    authority: Authority, client: Certificate | None = None
) -> grpc.ChannelCredentials:
    """Trusts the authority for the server's side, and shows the client's certificate, if any."""
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(),
        client.key.read_bytes() if client else None,
        client.certificate.read_bytes() if client else None,
    )


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
