"""One gRPC call in raw HTTP/2 frames, for what no client library would send."""

import socket
import struct

import h2.config
import h2.connection
import h2.events


def call(address, path, message, flag=0, headers=(), seconds=20, source=""):
    """Sends one message with this compressed flag, from an address of this machine; returns the
    answer as a dict."""
    host, port = address.rsplit(":", 1)
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    with socket.create_connection((host, int(port)), seconds, (source, 0)) as link:
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", address),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                *headers,
            ],
        )
        connection.send_data(
            stream, struct.pack(">BI", flag, len(message)) + message, end_stream=True
        )
        link.sendall(connection.data_to_send())
        return _answer(connection, link)


def _answer(connection, link):
    """Reads until the stream ends; `body` is all that came between headers and trailers.

    A reset is told as `reset`, a connection that the server closed as `closed`.
    """
    found = {"body": b""}
    while data := link.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                found.update(event.headers)
            if isinstance(event, h2.events.DataReceived):
                found["body"] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.StreamReset):
                return {**found, "reset": event.error_code}
            if isinstance(event, h2.events.StreamEnded):
                return found
        link.sendall(connection.data_to_send())
    return {**found, "closed": True}


def messages(body):
    """The gRPC messages of an answer's body."""
    found = []
    while body:
        _, size = struct.unpack(">BI", body[:5])
        found.append(body[5 : 5 + size])
        body = body[5 + size :]
    return found
