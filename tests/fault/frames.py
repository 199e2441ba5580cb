"""HTTP/2 frames by hand: for what no library would send, and in numbers that none would."""

import contextlib
import select
import socket
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)
# Indexed fields of HPACK's static table: `:method POST` and `:scheme http`.
POST, HTTP = b"\x83", b"\x86"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def literal(name, value):
    """A header field that no table keeps; name and value below 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def fields(path, *more):
    """The header block of a gRPC call."""
    plain = [(b":path", path.encode()), (b":authority", b"127.0.0.1")]
    plain += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    return POST + HTTP + b"".join(literal(name, value) for name, value in plain)


def call(stream, path, message=None, *more):
    """A call's frames: all of it, or only its headers, so that it waits for its message."""
    begin = frame(HEADERS, END_HEADERS, stream, fields(path, *more))
    if message is None:
        return begin
    body = struct.pack(">BI", 0, len(message)) + message
    return begin + frame(DATA, END_STREAM, stream, body)


def reset(stream):
    return frame(RST_STREAM, 0, stream, CANCEL)


@contextlib.contextmanager
def connection(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        link.sendall(HELLO)
        yield link


def send_all(link, data, seconds=30):
    """Sends the bytes while it drops what comes back; False: the server closed the connection."""
    view, deadline = memoryview(data), time.monotonic() + seconds
    link.setblocking(False)
    try:
        while view:
            assert time.monotonic() < deadline, f"{len(view)} bytes are not taken"
            readable, writable, _ = select.select([link], [link], [], 1)
            if readable and not link.recv(1 << 20):
                return False
            if writable:
                view = view[link.send(view[: 1 << 18]) :]
        return True
    except (ConnectionResetError, BrokenPipeError):
        return False


def is_closed(link, seconds=20):
    """Whether the server closes the connection, of which nothing more is read."""
    deadline = time.monotonic() + seconds
    link.setblocking(False)
    try:
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([link], [], [], left)
            if readable and not link.recv(1 << 20):
                return True
    except ConnectionResetError:
        return True
    return False
