"""A region's own certificate authority, and the identities it vouches for.

| file | mode | what |
| --- | --- | --- |
| `<folder>/ca.key` | 0600 | the authority's key; only processes that issue certificates read it |
| `<folder>/ca.pem` | 0644 | the authority's certificate; every party needs it |

An identity is a URI in the certificate (RFC 5280 section 4.2.1.6), `evenkeel://<region>/<role>/<name>`, in the manner
of SPIFFE. Names of the wire are never compared: who may speak for host `a-1` is who holds the key of the certificate
that says `evenkeel://demo/host/a-1`, whatever a frame claims. Keys are P-256 (RFC 5480), made where they are used; only
a signing request travels. Certificates begin `SKEW` early, so a clock an hour off refuses nobody.
"""

from __future__ import annotations

import fcntl
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evenkeel.model.errors import InputError, Refusal

CA_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=120)  # a third of the life: a renewal may fail for months before it matters
SKEW = timedelta(days=2)
PEM_OCTETS_MAX = 16 * 1024
NAME_FORM = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_URI = re.compile(rf"evenkeel://({NAME_FORM})/(host|manager)/({NAME_FORM})\Z")


class Role(StrEnum):
    """What a certificate lets its holder be."""

    HOST = "host"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate speaks for: a host by its name, a manager by its az."""

    region: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        if not _URI.match(self.uri):
            raise InputError.one(
                "identity", f"{self.uri!r:.200} names nobody", "use 1 to 63 lowercase letters, digits and inner hyphens"
            )

    @property
    def uri(self) -> str:
        return f"evenkeel://{self.region}/{self.role.value}/{self.name}"


def identity_in(uri: str) -> Identity | None:
    """The identity that `uri` spells; None where it spells none."""
    found = _URI.match(uri)
    return Identity(found[1], Role(found[2]), found[3]) if found else None


def is_name(text: str) -> bool:
    """Whether a host may have that name."""
    return re.fullmatch(NAME_FORM, text) is not None


# --- the authority ----------------------------------------------------------------------------------


class Authority:
    """Issues certificates. `at` makes or reads it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def at(cls, folder: Path, region: str) -> Authority:
        """The authority in `folder`, made where there is none yet; any number of processes may ask at once.

        Raises `InputError` where the files cannot be used, or the key is open to other users.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder / ".ca.lock"):
                if not (folder / "ca.key").exists():
                    _make_authority(folder, region)
                key_pem = read_private(folder / "ca.key")
                certificate = load_certificate((folder / "ca.pem").read_bytes())
        except OSError as error:
            raise InputError.one(
                str(folder), f"the region's authority cannot be used: {error.strerror}", "mend the folder's mode"
            ) from error
        return cls(_load_key(key_pem, str(folder / "ca.key")), certificate)

    def issue(self, request_pem: bytes, identity: Identity, now: datetime | None = None) -> bytes:
        """A certificate (PEM) for the key of a signing request, which has to be signed with that key.

        What the request says about names is not looked at: `identity` is the caller's to establish. Raises `Refusal`.
        """
        request = load_request(request_pem)
        now = now or datetime.now(UTC)
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if identity.role is Role.MANAGER:
            usage.append(ExtendedKeyUsageOID.SERVER_AUTH)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]))
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + CERTIFICATE_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _make_authority(folder: Path, region: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"evenkeel region {region}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_KEY_CERT_SIGN, critical=True)
        .sign(key, hashes.SHA256())
    )
    # The certificate first: a key without its certificate would look like an authority that is whole.
    write_whole(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    write_whole(folder / "ca.key", _key_pem(key), 0o600)


_KEY_CERT_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


# --- a party's own key ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of what one party presents: its key and certificate, and the authority it believes."""

    key: Path
    certificate: Path
    authority: Path

    @classmethod
    def at(cls, folder: Path, authority: Path) -> Credentials:
        return cls(folder / "identity.key", folder / "identity.pem", authority)

    def request(self) -> bytes:
        """A signing request (PEM) for the party's key, which is made where there is none. Raises `InputError`."""
        try:
            self.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.key.with_suffix(".lock")):
                if not self.key.exists():
                    write_whole(self.key, _key_pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
        except OSError as error:
            raise InputError.one(
                str(self.key), f"cannot be made: {error.strerror}", "mend the folder's mode"
            ) from error
        key = self.load_key()
        empty = x509.Name([])  # the issuer says whose it is
        request = x509.CertificateSigningRequestBuilder().subject_name(empty).sign(key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM)

    def accept(self, certificate_pem: bytes) -> None:
        """Keep the certificate that was issued. Raises `Refusal` where it is not for this key."""
        if load_certificate(certificate_pem).public_key() != self.load_key().public_key():
            raise Refusal("the certificate that came back is for another key")
        write_whole(self.certificate, certificate_pem, 0o644)

    def is_due(self, now: datetime | None = None) -> bool:
        """Whether there is no certificate yet, or it ends before long."""
        try:
            certificate = load_certificate(self.certificate.read_bytes())
        except (OSError, Refusal):
            return True
        return certificate.not_valid_after_utc - (now or datetime.now(UTC)) < RENEW_BEFORE

    def load_key(self) -> ec.EllipticCurvePrivateKey:
        return _load_key(read_private(self.key), str(self.key))

    def load_certificate(self) -> x509.Certificate:
        return load_certificate(self.certificate.read_bytes())


def fingerprint(public: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Of the public key, in hex: the same through every renewal of the certificate."""
    octets = public.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(octets)
    return digest.finalize().hex()


# --- TLS --------------------------------------------------------------------------------------------


def manager_context(credentials: Credentials) -> ssl.SSLContext:
    """For a listener: TLS 1.3, callers with a certificate of the region, or with none while they join."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a resumed session would skip the certificate that says who calls
    return _filled(context, credentials, has_certificate=True)


def host_context(credentials: Credentials, *, is_joining: bool = False) -> ssl.SSLContext:
    """For a caller. Who answers is checked by identity (`peer_identity`), not by the name it was reached at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return _filled(context, credentials, has_certificate=not is_joining)


def peer_identity(tls: ssl.SSLObject | None) -> Identity | None:
    """Whom the other side's verified certificate speaks for; None where it showed none, or one of nobody's."""
    certificate = tls.getpeercert() if tls is not None else None
    names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()) if certificate else ())
    uris = [value for kind, value in names if kind == "URI"]
    return identity_in(uris[0]) if len(uris) == 1 else None


def _filled(context: ssl.SSLContext, credentials: Credentials, *, has_certificate: bool) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=str(credentials.authority))
    except (OSError, ssl.SSLError) as error:
        mend = "wait for the first start of a manager, which makes it, or copy it from a manager's keys folder"
        raise InputError.one(str(credentials.authority), f"cannot be used for TLS: {error}", mend) from error
    try:
        if has_certificate:
            context.load_cert_chain(str(credentials.certificate), str(credentials.key))
    except (OSError, ssl.SSLError) as error:
        raise InputError.one(
            str(credentials.certificate), f"cannot be used for TLS: {error}", "remove the folder, then join again"
        ) from error
    return context


def verified_identity(certificate_pem: bytes, authority: x509.Certificate) -> tuple[Identity, x509.Certificate]:
    """For transports other than TLS: whom a certificate of this region's authority speaks for. Raises `Refusal`."""
    certificate = load_certificate(certificate_pem)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise Refusal("the certificate is not of this region's authority") from error
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise Refusal(f"the certificate ended at {certificate.not_valid_after_utc}")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_leaf = not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError) as error:
        raise Refusal("the certificate names nobody") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    identity = identity_in(uris[0]) if len(uris) == 1 else None
    if identity is None or not is_leaf:
        raise Refusal("the certificate names nobody")
    return identity, certificate


# --- files and PEM ----------------------------------------------------------------------------------


def load_certificate(pem: bytes) -> x509.Certificate:
    """Raises `Refusal` where it is none."""
    try:
        return x509.load_pem_x509_certificate(_bounded(pem))
    except ValueError as error:
        raise Refusal("that is no certificate") from error


def load_request(pem: bytes) -> x509.CertificateSigningRequest:
    """A signing request whose signature shows that the asker holds the key, P-256. Raises `Refusal`."""
    try:
        request = x509.load_pem_x509_csr(_bounded(pem))
        is_signed, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError) as error:
        raise Refusal("that is no signing request") from error
    if not is_signed or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refusal("the signing request is not signed by a P-256 key of its own")
    return request


def read_private(path: Path) -> bytes:
    """A file that nobody else may read. Raises `InputError`."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            body = file.read(PEM_OCTETS_MAX)
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}", "restore it, or join again") from error
    if mode & 0o077:
        raise InputError.one(str(path), f"other users may read it (mode {mode:04o})", f"chmod 600 {path}")
    return body


def write_whole(path: Path, body: bytes, mode: int) -> None:
    """Whole or not at all, durable. Raises `OSError`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bounded(pem: bytes) -> bytes:
    if len(pem) > PEM_OCTETS_MAX:
        raise Refusal(f"{len(pem)} octets are too many for a certificate")
    return pem


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise InputError.one(where, f"is no private key: {error}", "remove it, then join again") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError.one(where, "is not a P-256 key", "remove it, then join again")
    return key
