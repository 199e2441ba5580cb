"""A server in this process that answers every call with bytes, whatever they are."""

import concurrent.futures
import threading
from collections.abc import Callable, Iterator

import grpc

SERVICE = "/scalpel.v1.InterventionService/"
STREAMS = {SERVICE + "Run", SERVICE + "Sweep"}


class RawServer(grpc.GenericRpcHandler):
    """`answer` gives the messages of each answer; of a unary one the first."""

    def __init__(self) -> None:
        # At first an empty message: a client asks for the model when it connects.
        self.answer: Callable[[], Iterator[bytes]] = lambda: iter([b""])
        self.stopped = threading.Event()  # an answer that waits is to go on
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method in STREAMS:
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self.answer())
        return grpc.unary_unary_rpc_method_handler(lambda request, context: next(self.answer()))

    def __enter__(self) -> "RawServer":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.stop(None)
