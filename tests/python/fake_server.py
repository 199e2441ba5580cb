"""A server in this process that does what no real one does when asked: fails and then works, breaks
off, sends what the contract forbids, asks for a token, speaks TLS. What it is not told to do, it
hands on to a real server."""

import concurrent.futures
import threading

import grpc
from google.protobuf import any_pb2, duration_pb2

from scalpel.rpc import error_details_pb2, status_pb2
from scalpel.v1 import run_pb2, service_pb2_grpc


class Failure(Exception):
    """A status to answer with; `details` are messages of google.rpc."""

    def __init__(self, code, text="", details=(), request_id=""):
        super().__init__(text)
        self.code, self.text = code, text
        self.details = list(details)
        if request_id:
            self.details.append(error_details_pb2.RequestInfo(request_id=request_id))

    def abort(self, context):
        status = status_pb2.Status(code=self.code.value[0], message=self.text)
        for detail in self.details:
            url = "type.googleapis.com/google.rpc." + detail.DESCRIPTOR.name
            status.details.append(any_pb2.Any(type_url=url, value=detail.SerializeToString()))
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(self.code, self.text)


def server_credentials(authority, mutual=True):
    """TLS with a certificate of the authority; `mutual`: a client shows one too."""
    made = authority.sign("server")
    pair = [(made.key.read_bytes(), made.certificate.read_bytes())]
    trusted = authority.certificate.read_bytes() if mutual else None
    return grpc.ssl_server_credentials(pair, trusted, require_client_auth=mutual)


def queue_full(seconds):
    """What a server with a full queue says."""
    delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    return Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the queue is full",
        [error_details_pb2.RetryInfo(retry_delay=delay)],
    )


class FakeServer(service_pb2_grpc.InterventionServiceServicer):
    """`script[method]` is a list: what to do at each call, while it lasts. An item is a Failure, or
    a list of responses and at its end perhaps a Failure or an Event to wait for."""

    def __init__(self, real_address, credentials=None, token=None):
        self.script = {}
        self.calls = []  # (method, metadata) of every call
        self.ended = threading.Event()  # Set when a stream is over, also by cancelling.
        self._token = token
        self._real = grpc.insecure_channel(real_address)
        self._stub = service_pb2_grpc.InterventionServiceStub(self._real)
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        service_pb2_grpc.add_InterventionServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.stop(None)
        self._real.close()

    def count(self, method):
        return sum(1 for name, _ in self.calls if name == method)

    def _begin(self, method, context):
        """Counts the call; returns its script, or None for the real server's answer."""
        metadata = dict(context.invocation_metadata())
        self.calls.append((method, metadata))
        if self._token and metadata.get("authorization") != f"Bearer {self._token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is wrong")
        script = self.script.get(method)
        return script.pop(0) if script else None

    def _unary(self, method, request, context):
        action = self._begin(method, context)
        if isinstance(action, Failure):
            action.abort(context)
        return getattr(self._stub, method)(request)

    def _stream(self, method, request, context):
        context.add_callback(self.ended.set)
        action = self._begin(method, context)
        if isinstance(action, Failure):
            action.abort(context)
        if action is None:
            yield from getattr(self._stub, method)(request)
            return
        for item in action:
            if isinstance(item, Failure):
                item.abort(context)
            elif isinstance(item, threading.Event):
                item.wait(20)
            else:
                yield item

    def GetModel(self, request, context):
        return self._unary("GetModel", request, context)

    def GetStatus(self, request, context):
        return self._unary("GetStatus", request, context)

    def Tokenize(self, request, context):
        return self._unary("Tokenize", request, context)

    def Detokenize(self, request, context):
        return self._unary("Detokenize", request, context)

    def Run(self, request, context):
        yield from self._stream("Run", request, context)

    def Sweep(self, request, context):
        yield from self._stream("Sweep", request, context)

    def Generate(self, request, context):
        yield from self._stream("Generate", request, context)


def run_events(real_address, request=None):
    """The responses of a real run, to be sent again, in part or in another order."""
    with grpc.insecure_channel(real_address) as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        return list(stub.Run(request or run_pb2.RunRequest(prompts=[{"text": "Hello there"}])))
