"""A gRPC server and a client of it, by Debian's grpcio: real peers for the tests of grpc_pass.

    grpc_peer.py server PORT [MAX_STREAMS]   answers on 127.0.0.1 until its input ends; says "ready"
    grpc_peer.py client PORT CALL [ARG]      makes one call and prints what came of it, one fact a line

Messages are bytes without a schema.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "test.Echo"


def told(context):
    """The metadata of the client, sent back so that a test sees what came through."""
    for key, value in context.invocation_metadata():
        if key.startswith(("x-", "canary-")):
            yield "seen-" + key, value
    yield "seen-authority", str(context._rpc_event.call_details.host.decode())


def unary(request, context):
    context.send_initial_metadata(tuple(told(context)))
    context.set_trailing_metadata((("x-end", "yes"),))
    if request.startswith(b"fail "):
        context.abort(grpc.StatusCode(grpc_code(int(request[5:]))), "as asked: \u00e9")
    # What only the canary fails at.
    if request.startswith(b"ill ") and dict(told(context)).get("seen-canary-version") == "v2":
        context.abort(grpc.StatusCode(grpc_code(int(request[4:]))), "ill")
    if request.startswith(b"sleep "):
        time.sleep(float(request[6:]))
    if request.startswith(b"large "):
        return b"x" * int(request[6:])
    return b"echo " + request if len(request) < 100 else str(len(request)).encode()


def grpc_code(number):
    return next(it.value for it in grpc.StatusCode if it.value[0] == number)


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b",".join(requests)


def bidi(requests, context):
    context.send_initial_metadata((("x-early", "yes"),))
    for request in requests:
        if request == b"stop":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stopped")
        yield b"re " + request


class Hang:
    """Calls that are under way, and those that their client has cancelled."""

    cancelled = 0


def hang(request, context):
    over = threading.Event()

    def done():
        Hang.cancelled += 1
        over.set()

    context.add_callback(done)
    context.send_initial_metadata((("x-hangs", "yes"),))
    over.wait(60)
    yield b""


def cancelled(request, context):
    return b"%d" % Hang.cancelled


def serve(port, most_streams):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Hang": grpc.unary_stream_rpc_method_handler(hang),
        "Cancelled": grpc.unary_unary_rpc_method_handler(cancelled),
    }
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
    if most_streams:
        options.append(("grpc.max_concurrent_streams", int(most_streams)))
    server = grpc.server(futures.ThreadPoolExecutor(32), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if server.add_insecure_port(f"127.0.0.1:{port}") == 0:
        sys.exit(1)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


def show(call):
    print("status", call.code().name)
    print("details", call.details())
    for key, value in sorted(call.initial_metadata()):
        if key.startswith(("seen-", "x-")):
            print("head", key, value)
    for key, value in sorted(call.trailing_metadata() or ()):
        if key.startswith("x-"):
            print("trailer", key, value)


def name(method):
    return f"/{SERVICE}/{method}"


def call_unary(channel, argument, timeout=20):
    method = channel.unary_unary(name("Unary"))
    metadata = (("x-from", "client"), ("canary-version", "forged"), ("x-bin-bin", b"\x00\xff"))
    message = b"m" * int(argument[5:]) if argument.startswith("size ") else argument.encode()
    try:
        answer, call = method.with_call(message, timeout=timeout, metadata=metadata)
        print("answer", answer.decode() if len(answer) < 100 else len(answer))
    except grpc.RpcError as error:
        call = error
    show(call)


def call_deadline(channel, argument):
    began = time.monotonic()
    call_unary(channel, "sleep 5", float(argument))
    print("soon", time.monotonic() - began < 3)


def call_server_stream(channel, argument):
    call = channel.unary_stream(name("ServerStream"))(argument.encode(), timeout=20)
    answers = list(call)
    print("answers", len(answers), answers[-1].decode())
    show(call)


def call_client_stream(channel, argument):
    parts = (b"%d" % number for number in range(int(argument)))
    answer, call = channel.stream_unary(name("ClientStream")).with_call(parts, timeout=20)
    print("answer", answer.decode())
    show(call)


def call_bidi(channel, argument):
    """Each message is sent when the answer to the one before is there."""
    turn = threading.Semaphore(0)

    def requests():
        for number in range(int(argument)):
            turn.acquire()
            yield b"%d" % number

    call = channel.stream_stream(name("Bidi"))(requests(), timeout=20)
    # The head comes before anything was sent.
    print("early", dict(call.initial_metadata()).get("x-early"))
    turn.release()
    answers = []
    for answer in call:
        answers.append(answer.decode())
        turn.release()
    print("answers", ";".join(answers))
    show(call)


def call_bidi_status(channel, _):
    call = channel.stream_stream(name("Bidi"))(iter((b"a", b"stop")), timeout=20)
    try:
        print("answers", [it.decode() for it in call])
    except grpc.RpcError as error:
        print("broken", error.code().name)
    show(call)


def call_cancel(channel, _):
    call = channel.unary_stream(name("Hang"))(b"", timeout=20)
    # It is under way.
    list(call.initial_metadata())
    call.cancel()
    for _ in range(100):
        count = channel.unary_unary(name("Cancelled"))(b"", timeout=20)
        if count != b"0":
            break
        time.sleep(0.05)
    print("cancelled", count.decode())


def call_many(channel, argument):
    method = channel.unary_unary(name("Unary"))
    calls = [method.future(b"%d" % number, timeout=20) for number in range(int(argument))]
    print("right", sum(it.result() == b"echo %d" % number for number, it in enumerate(calls)))


def call_failing(channel, argument):
    status, count = argument.split()
    for _ in range(int(count)):
        try:
            channel.unary_unary(name("Unary"))(b"ill " + status.encode(), timeout=20)
        except grpc.RpcError:
            pass


def main():
    role, port, *rest = sys.argv[1:]
    if role == "server":
        return serve(port, rest[0] if rest else None)
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        globals()["call_" + rest[0]](channel, rest[1] if len(rest) > 1 else "")


if __name__ == "__main__":
    main()
