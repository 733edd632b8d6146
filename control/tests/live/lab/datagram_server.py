#!/usr/bin/python3
"""Answers datagrams: a DNS query with an empty response, and any other with `PONG`.

    datagram_server.py PORT FILE ADDRESS...

FILE holds the response code, or `silent`; it is read with each datagram. An answer has to come from the address that was
asked, so each address has a socket of its own.
"""

import selectors
import socket
import sys
from pathlib import Path

IP_FREEBIND = 15


def bound(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM)
    # An IPv6 address may still be tentative.
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    listener.bind((address, port))
    return listener


def answer(request, state):
    if request == b"PING":
        return b"PONG" if state == "0" else b"BUSY"
    return request[:2] + bytes([request[2] | 0x80, request[3] & 0xF0 | int(state)]) + request[4:]


def main():
    port, state = int(sys.argv[1]), Path(sys.argv[2])
    selector = selectors.DefaultSelector()
    for address in sys.argv[3:]:
        selector.register(bound(address, port), selectors.EVENT_READ)
    Path(f"{state}.up").touch()
    while True:
        for key, _ in selector.select():
            request, client = key.fileobj.recvfrom(2048)
            said = state.read_text(encoding="ascii")
            if said != "silent":
                key.fileobj.sendto(answer(request, said), client)


main()
