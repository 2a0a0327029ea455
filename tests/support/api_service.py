"""The configuration of the web process that the tests of the API share."""

from tests.support.factories import SECRET
from tests.support.processes import build_provider_toml

TOKEN_PROVIDER = """
[providers.tokened]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", token = "an-unguessable-end-of-the-url" }
"""
URL_SIGNING_PROVIDER = """
[providers.signing-urls]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
[providers.signing-urls.signature]
scheme = "hmac"
header = "X-Signature"
encoding = "hex"
signed = "{url}{body}"
secrets = ["a secret of theirs"]
token = "an-unguessable-end"
"""
NOTIFY_ENVIRON = {
    "RECEIVER_NOTIFY_HOSTS": "shop.example, *.shop.example, 10.0.0.5",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}
CONFIG = "".join(
    [
        build_provider_toml("sandbox", more="deadline = 600"),
        build_provider_toml("another"),
        build_provider_toml("silent"),
        build_provider_toml("by-attempt", more="callback_token = true"),
        TOKEN_PROVIDER,
        URL_SIGNING_PROVIDER,
    ]
)
