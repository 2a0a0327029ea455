"""TLS of exchanges: the contexts of connections, and how a server refuses our certificate."""

import ssl
from functools import cache

from gevent.ssl import PROTOCOL_TLS_CLIENT, SSLContext

from receiver.certificate_authorities import load_system_authorities
from receiver.domain.egress import TlsFiles
from receiver.egress import load_tls_files

_REFUSALS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
"""The alerts of a server that does not accept a client's certificate, or misses it, by their names in OpenSSL."""


def build_tls_context(files: TlsFiles) -> SSLContext:
    """Return a TLS context with a provider's files, or the shared one if it has none.

    Raises:
        InvalidTlsFile: a file cannot be used any more.
    """
    if files == TlsFiles():
        return _get_shared_context()
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    if not files.ca_file:
        load_system_authorities(context)
    load_tls_files(context, files)
    return context


def refuses_certificate(error: Exception) -> bool:
    """Return whether an error is a server's alert that it does not accept our certificate, or misses one.

    With TLS 1.3 it arrives only after the handshake is complete on our side, in place of a response.
    """
    return isinstance(error, ssl.SSLError) and error.reason in _REFUSALS


@cache
def _get_shared_context() -> SSLContext:
    """Return the context that connections share: building one takes as long as many exchanges."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    load_system_authorities(context)
    return context
