"""A proxy that wants a password: CONNECT for TLS, whole URLs for plain HTTP (RFC 9110, section 9.3.6).

    python3 tests/harness/http_proxy.py PORT USER:PASSWORD LOG

Each request line is written to LOG.
"""

import base64
import contextlib
import http.client
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PORT, PASSWORD, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3]
WANTED = "Basic " + base64.b64encode(PASSWORD.encode()).decode()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    def log_message(self, *_: object) -> None:
        pass

    def knows_us(self) -> bool:
        """Log the request; whether it has the password, else 407 is sent."""
        with open(LOG, "a") as log:
            log.write(f"{self.command} {self.path}\n")
        if self.headers.get("Proxy-Authorization") == WANTED:
            return True
        self.send_error(407)
        return False

    def do_CONNECT(self) -> None:
        if self.knows_us():
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                other = threading.Thread(target=carry, args=(there, self.connection), daemon=True)
                other.start()
                carry(self.connection, there)
                other.join()
        self.close_connection = True

    def do_GET(self) -> None:
        if not self.knows_us():
            return
        url = urlsplit(self.path)
        there = http.client.HTTPConnection(url.hostname, url.port)
        kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        there.request(self.command, url.path + (f"?{url.query}" if url.query else ""), headers=kept)
        answer = there.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()


def carry(source: socket.socket, to: socket.socket) -> None:
    """Pass bytes one way until there are no more."""
    while data := source.recv(65536):
        to.sendall(data)
    with contextlib.suppress(OSError):  # the other side may be gone
        to.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print("ready", flush=True)
    server.serve_forever()
