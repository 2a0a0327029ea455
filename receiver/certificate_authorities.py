"""The certificate authorities that TLS clients trust, where no others are configured."""

import ssl
from pathlib import Path

import certifi


def load_system_authorities(context: ssl.SSLContext) -> None:
    """Trust the system's certificate authorities, as OpenSSL finds them: see SSL_CERT_FILE and SSL_CERT_DIR.

    Those of certifi are trusted where the system has none.
    """
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not _has_certificates(paths.capath):
        context.load_verify_locations(certifi.where())


def _has_certificates(directory: str | None) -> bool:
    """Return whether OpenSSL finds any certificate in a directory, where they are named by a hash."""
    return directory is not None and any(path.suffix == ".0" for path in Path(directory).iterdir())
