"""Which certificates are trusted, for the control plane, PutMedia and IoT credentials alike.

A bundle that the user names is the only one then: AWS_CA_BUNDLE, else ``ca_bundle`` of the profile, else
REQUESTS_CA_BUNDLE. Without one it is the system's store together with the bundle that botocore brings, because slim
containers have no store.
"""

from __future__ import annotations

import functools
import os
import ssl

__all__ = ["ca_bundle", "default_ssl_context", "untrusted"]


def ca_bundle() -> str | None:
    """Return the file or directory that the user names; None without one. Reads the profile, so it blocks."""
    names = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE")
    return _bundle_of(tuple(os.environ.get(name) for name in names))


@functools.lru_cache(maxsize=8)
def _bundle_of(settings: tuple[str | None, ...]) -> str | None:
    import botocore.exceptions
    import botocore.session

    try:
        found = botocore.session.Session(include_builtin_handlers=False).get_config_variable("ca_bundle")
    except botocore.exceptions.BotoCoreError:  # such as a profile that does not exist: the call for keys reports it
        found = os.environ.get("AWS_CA_BUNDLE")
    return str(found or os.environ.get("REQUESTS_CA_BUNDLE") or "") or None


def default_ssl_context() -> ssl.SSLContext:
    """Return a verifying context, shared by all that trust the same; blocks.

    Raises:
        OSError: the bundle that the user names cannot be read.
    """
    return _context_of(ca_bundle())


def untrusted(error: BaseException, host: str) -> str:
    """Return what is wrong with a certificate, in words; "" where the error is about something else."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" not in text and type(error).__name__ != "SSLCertVerificationError":
        return ""
    reason = getattr(error, "verify_message", "") or text.rpartition("certificate verify failed:")[2].strip()
    reason = reason.partition(" (_ssl.c")[0].rstrip(".)") or "it cannot be verified"
    return f"the certificate of {host} is not trusted (CERTIFICATE_VERIFY_FAILED: {reason})"


@functools.lru_cache(maxsize=4)
def _context_of(bundle: str | None) -> ssl.SSLContext:
    try:
        if bundle is not None and os.path.isdir(bundle):
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        text = f"the CA bundle {bundle} cannot be read; correct AWS_CA_BUNDLE, ca_bundle or REQUESTS_CA_BUNDLE"
        raise OSError(text) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if bundle is None:
        import botocore.httpsession

        context.load_verify_locations(cafile=botocore.httpsession.where())
    return context
