"""What dth demands of a TLS peer."""

from __future__ import annotations

import ssl

from dth.errors import SettingsError


def make_ssl_context(ca_bundle: str | None, *, verify: bool = True) -> ssl.SSLContext:
    """TLS 1.2 or later with the peer's certificate and name verified, against `ca_bundle` (a file of PEM certificates)
    where given, else against the system's. Raises SettingsError for a bundle that is none. `verify=False` is for servers of one's own on the same machine."""
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsError(
            f"the CA bundle {ca_bundle!r} cannot be used: {error.strerror if isinstance(error, OSError) else error}; it is "
            "a file of certificates in PEM, named by --ca-bundle, AWS_CA_BUNDLE or SSL_CERT_FILE"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
