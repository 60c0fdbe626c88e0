"""The demo's workload: `python -I -S workload.py INSTANCE HOST`, an HTTP server that says which instance it is.

It listens at a free port of HOST and writes `<host>:<port>` to `$INSTANCE_FOLDER/address`. Standard library alone, one
request at a time: it is there to be seen, and serves nothing of value.
"""

from __future__ import annotations

import os
import socket
import sys

HEAD_OCTETS_MAX = 8192
REQUEST_DEADLINE_S = 2.0
BACKLOG = 64


def reply(instance: str, address: str) -> bytes:
    """The one answer that it gives."""
    body = f"instance {instance} at {address}, pid {os.getpid()}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def serve(server: socket.socket, said: bytes) -> None:
    """Answers whoever asks, until the process ends."""
    while True:
        caller, _ = server.accept()
        with caller:
            caller.settimeout(REQUEST_DEADLINE_S)
            try:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < HEAD_OCTETS_MAX:
                    part = caller.recv(HEAD_OCTETS_MAX)
                    if not part:
                        break
                    head += part
                caller.sendall(said)
            except OSError:
                continue  # whoever asked is gone or slow


def main(arguments: list[str]) -> int:
    instance, host = arguments
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=BACKLOG) as server:
        port = server.getsockname()[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        path = os.path.join(os.environ["INSTANCE_FOLDER"], "address")
        with open(path + ".draft", "w", encoding="ascii") as file:
            file.write(address + "\n")
        os.replace(path + ".draft", path)
        serve(server, reply(instance, address))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
