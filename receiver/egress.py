"""The egress of providers as this machine has it: proxies of the environment, and certificates in files.

The files are checked at start, so that a mistake in them is an error of the settings.
"""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from marshmallow import ValidationError

from receiver.domain.egress import Egress, TlsFiles, find_environment_proxy
from receiver.domain.errors import ReceiverError
from receiver.providers.base import Provider


class InvalidTlsFile(ReceiverError):
    """A file of a TLS client cannot be used; `key` is its key in `receiver.toml`, and the message gives the reason."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def resolve_egress(provider: Provider, environ: Mapping[str, str], directory: Path, user_agent: str) -> Egress:
    """Return the egress of a provider with the environment's proxy, checked files and a name.

    Args:
        provider: a provider with the egress of its table.
        environ: the environment variables.
        directory: where relative paths begin.
        user_agent: the value of `User-Agent`.

    Raises:
        ValidationError: with the errors by key of the provider's table.
    """
    egress = replace(provider.egress, user_agent=user_agent, tls=_resolve_files(provider.egress.tls, directory))
    try:
        if egress.tls != TlsFiles():
            load_tls_files(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), egress.tls)
        if egress.proxy_from_environment:
            token_origin = provider.token_request.origin if provider.token_request else provider.origin
            egress = replace(
                egress,
                proxy=find_environment_proxy(environ, provider.origin),
                token_proxy=find_environment_proxy(environ, token_origin),
            )
    except InvalidTlsFile as error:
        raise ValidationError({"tls": {error.key: [str(error)]}}) from None
    except ValueError as error:
        raise ValidationError({"proxy": [f"The environment variable {error}"]}) from None
    return egress


def load_tls_files(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Load the files of a TLS client into a context.

    Raises:
        InvalidTlsFile: a file cannot be used.
    """
    for key in ("ca_file", "cert_file", "key_file"):
        _check_readable(key, getattr(files, key))
    if files.ca_file:
        try:
            context.load_verify_locations(files.ca_file)
        except ssl.SSLError:
            raise InvalidTlsFile("ca_file", "Must contain certificates in PEM format.") from None
    if files.cert_file:
        try:
            context.load_cert_chain(files.cert_file, files.key_file, password=_refuse_password)
        except _EncryptedKey:
            message = "The key is encrypted. Store it without a passphrase, readable for this service only."
            raise InvalidTlsFile("key_file" if files.key_file else "cert_file", message) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise InvalidTlsFile("key_file", "Must contain the key of the certificate in cert_file.") from None
            message = "Must contain a certificate in PEM format, and its key unless key_file is set."
            raise InvalidTlsFile("cert_file", message) from None


class _EncryptedKey(Exception):
    """OpenSSL asks for the passphrase of a key."""


def _refuse_password() -> str:
    raise _EncryptedKey


def _check_readable(key: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InvalidTlsFile(key, f"Cannot read the file {path}: {error.strerror}.") from None


def _resolve_files(files: TlsFiles, directory: Path) -> TlsFiles:
    return TlsFiles(*(directory / path if path else None for path in (files.ca_file, files.cert_file, files.key_file)))
