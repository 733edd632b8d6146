#!/usr/bin/python3
"""Serves grpc.health.v1.Health/Check with Google's own gRPC, for the whole server and for the service `lab.Web`.

    grpc_server.py PORT FILE [CERTIFICATE KEY]

With a certificate and its key it speaks TLS alone. FILE holds the state to report; it is read with each call. A message of the protocol is a field or none, so this does
without protobuf. The file has another name than `grpc_health`, which `import grpc` looks for.
"""

import sys
from concurrent import futures
from pathlib import Path

import grpc

STATES = {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2}
KNOWN = ("", "lab.Web")


def service_of(request):
    """Field 1, which is left out where it is empty."""
    if not request:
        return ""
    tag, length, name = request[0], request[1], request[2:]
    if tag != 0x0A or length != len(name):
        raise ValueError(f"no HealthCheckRequest: {request!r}")
    return name.decode("ascii")


def main():
    port, state = int(sys.argv[1]), Path(sys.argv[2])

    def check(request, context):
        if service_of(request) not in KNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        number = STATES[state.read_text(encoding="ascii")]
        return bytes([0x08, number]) if number else b""

    methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)])
    if len(sys.argv) > 3:
        certificate, key = (Path(name).read_bytes() for name in sys.argv[3:5])
        bound = server.add_secure_port(f"[::]:{port}", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        bound = server.add_insecure_port(f"[::]:{port}")
    if bound != port:
        sys.exit(f"port {port} is taken")
    server.start()
    server.wait_for_termination()


main()
