"""A cable that is pulled while a server answers, as a program for a network namespace of its own.

    unshare --net --pid --mount-proc --fork --kill-child python -m tests.fault.pulled_cable

The namespace has nothing but its loopback interface. When that is down, each packet is lost, and no
side hears that the other is gone. Ends with the exception of what is wrong, or with 0.
"""

import contextlib
import socket
import struct
import subprocess
import time

from tests.fault import frames
from tests.fault.alive import Alive, rss_bytes
from tests.fault.calls import RUN
from tests.support.client import Client, make_request
from tests.support.server import Server

# Bytes that are sent and not acknowledged, and pings that are not answered, end a connection.
UNACKNOWLEDGED_SECONDS, KEEPALIVE_SECONDS = 20, 60 + 20
SLACK_SECONDS = 15  # TCP's timers grow coarse
UNREAD = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}] * 2,
    "captures": [{"place": {"path": "hook_pattern"}}],
}
# Windows beyond the answer: then the server has written more than its socket holds.
UNREAD_BYTES = 2 * 12 * 12 * 256 * 256 * 4
GROWTH_MAX = 2 * UNREAD_BYTES + (192 << 20)
LARGE_WINDOWS = frames.frame(
    frames.SETTINGS, 0, 0, struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, 1 << 30)
) + frames.frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))


def set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def ask(link: socket.socket, name: str, windows: bytes = b"") -> None:
    """Begins a call of this id, and returns when its answer has begun."""
    message = make_request(UNREAD).SerializeToString()
    link.sendall(windows + frames.call(1, RUN, message, (b"x-request-id", name.encode())))
    answer, kinds = frames.Frames(link), set()
    while frames.DATA not in kinds:
        assert not answer.ended, f"{name} is not answered"
        kinds |= {kind for kind, *_ in answer.arrived(seconds=20) or ()}


def await_end(server: Server, name: str, seconds: float) -> None:
    """The call of this id ends as one whose client is gone."""
    found, deadline = f"request={name} ", time.monotonic() + seconds
    while not (lines := [line for line in server.log().splitlines() if found in line]):
        assert time.monotonic() < deadline, f"{name} goes on after {seconds} s"
        time.sleep(0.2)
    assert "code=CANCELLED" in lines[0], lines


def check() -> None:
    set_loopback("up")
    with Server() as server, Client(server.address) as client, contextlib.ExitStack() as stack:
        healthy = Alive(server, client)
        before = rss_bytes(server.pid)
        ask(stack.enter_context(frames.connection(server)), "in-flight", LARGE_WINDOWS)
        ask(stack.enter_context(frames.connection(server)), "not-read")
        set_loopback("down")
        pulled = time.monotonic()
        seconds = {"in-flight": UNACKNOWLEDGED_SECONDS, "not-read": KEEPALIVE_SECONDS}
        for name, most in seconds.items():
            await_end(server, name, most + SLACK_SECONDS)
            print(f"{name} ended after {time.monotonic() - pulled:.1f} s")
        assert rss_bytes(server.pid) < before + GROWTH_MAX
        set_loopback("up")
        healthy.check()


if __name__ == "__main__":
    check()
