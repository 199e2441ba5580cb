"""HTTP/2 frames by hand: for what no library would send, and in numbers that none would."""

import contextlib
import select
import socket
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4  # a setting
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


class Frames:
    """The frames that come from a connection."""

    def __init__(self, link):
        self.link, self.unread, self.ended = link, b"", False

    def arrived(self, seconds):
        """Those that are complete after the next bytes, as (kind, flags, stream, payload); None if
        no bytes come within these seconds."""
        if not select.select([self.link], [], [], seconds)[0]:
            return None
        data = self.link.recv(1 << 20)
        self.ended = not data
        self.unread += data
        found = []
        while len(self.unread) >= 9 and len(self.unread) >= 9 + self._size():
            end = 9 + self._size()
            whole, self.unread = self.unread[:end], self.unread[end:]
            found.append((*struct.unpack(">BBI", whole[3:9]), whole[9:]))
        return found

    def _size(self):
        return int.from_bytes(self.unread[:3], "big")


class Body:
    """The body of a call, sent as flow control lets it."""

    def __init__(self, link, stream):
        self.link, self.stream, self.frames = link, stream, Frames(link)
        self.windows, self.initial = {0: 65535, stream: 65535}, 65535
        self.sent, self.ended = 0, False

    def send(self, data):
        """Sends a piece, once there is room for it; False: the server takes no more of it."""
        while not self.ended and min(self.windows.values()) < len(data):
            if not self._read(seconds=1):
                return False
        if self.ended:
            return False
        self.link.sendall(frame(DATA, 0, self.stream, data))
        for stream in self.windows:
            self.windows[stream] -= len(data)
        self.sent += len(data)
        self._read(seconds=0)
        return True

    def _read(self, seconds):
        """Takes what the server says; False: nothing."""
        found = self.frames.arrived(seconds)
        for one in found or ():
            self._take(*one)
        self.ended |= self.frames.ended
        return found is not None

    def _take(self, kind, flags, stream, payload):
        if kind == WINDOW_UPDATE and stream in self.windows:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == INITIAL_WINDOW_SIZE:
                    self.windows[self.stream] += value - self.initial
                    self.initial = value
            self.link.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.link.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY or (kind in (HEADERS, RST_STREAM) and stream == self.stream):
            self.ended = True


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
