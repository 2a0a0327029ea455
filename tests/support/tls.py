"""A certificate of this machine's names, and an HTTPS server that has it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_certificate(path: Path, *names: str, passphrase: bytes = b"") -> Path:
    """Write a self-signed certificate for host names and for 127.0.0.1, with its key; return the path.

    With a passphrase the key is encrypted.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    addresses = x509.IPAddress(ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@dataclass(frozen=True)
class HttpsServer:
    """A server whose response is the status that the path names, such as /204; a redirect leads to /200."""

    port: int
    certificate: Path
    received: list[str] = field(default_factory=list)
    """The request lines and headers, as text."""

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"


@contextmanager
def running_https_server(certificate: Path) -> Iterator[HttpsServer]:
    """Run an HTTPS server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.received.append(f"{self.requestline}\n{self.headers}")
            self.send_response(int(self.path[1:4]))
            self.send_header("Content-Length", "0")
            self.send_header("Location", running.url("/200"))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        running = HttpsServer(server.server_port, certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
