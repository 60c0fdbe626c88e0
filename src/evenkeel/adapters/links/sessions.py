"""A session between a host and its manager over a carrier that neither of them trusts.

A message broker delivers what it likes to whom it likes, so nothing is taken from it on trust. Two messages, each
signed with the key of a certificate of the region, agree on fresh keys, one for each direction (X25519, RFC 7748; HKDF,
RFC 5869; SIGMA's shape: the manager's signature covers both messages). Every frame is then sealed (ChaCha20-Poly1305,
RFC 8439) under a number that only grows:

- forged or altered: the seal does not open;
- replayed, or older than what has arrived: the number is not new;
- from another session, or by another host under this name: another key.

A recorded opening can be replayed by the carrier, so a session counts only once a sealed frame has come over it
(`is_confirmed`): until then it takes nobody's place.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from evenkeel.adapters import pki
from evenkeel.model.errors import Refusal

NONCE_OCTETS = 16
KEY_OCTETS = 32
_OPENING, _ANSWER = b"evenkeel link opening 1\0", b"evenkeel link answer 1\0"


class Opening(msgspec.Struct, frozen=True, tag="opening", array_like=True):
    """A host begins: its certificate, a fresh key share and nonce, all signed."""

    certificate: bytes
    share: bytes
    nonce: bytes
    signature: bytes = b""


class Answer(msgspec.Struct, frozen=True, tag="answer", array_like=True):
    """The manager goes on; its signature covers the opening too. `opening` is that one's nonce."""

    opening: bytes
    certificate: bytes
    share: bytes
    nonce: bytes
    signature: bytes = b""


class Sealed(msgspec.Struct, frozen=True, tag="sealed", array_like=True):
    """One frame. `session` is the opening's nonce."""

    session: bytes
    number: int
    box: bytes


class Unknown(msgspec.Struct, frozen=True, tag="unknown", array_like=True):
    """The manager has no such session (it may have been restarted). A hint, believed at most once in a while."""

    session: bytes


Message = Opening | Answer | Sealed | Unknown


@dataclass(slots=True)
class Session:
    """Agreed keys, and the numbers used so far."""

    id: bytes
    peer: pki.Identity
    _seals: ChaCha20Poly1305
    _opens: ChaCha20Poly1305
    is_confirmed: bool = False
    _sent: int = field(default=0)
    _seen: int = field(default=0)

    def seal(self, frame: bytes) -> Sealed:
        self._sent += 1
        return Sealed(self.id, self._sent, self._seals.encrypt(_nonce(self._sent), frame, self.id))

    def open(self, sealed: Sealed) -> bytes:
        """The frame. Raises `Refusal` for one that is forged, altered or not new."""
        if not self._seen < sealed.number < 2**63:
            raise Refusal("replayed")
        try:
            frame = self._opens.decrypt(_nonce(sealed.number), sealed.box, self.id)
        except InvalidTag:
            raise Refusal("forged") from None
        self._seen = sealed.number
        self.is_confirmed = True
        return frame


class Party:
    """One side's certificate, key and trust. Raises `InputError` where they cannot be read."""

    def __init__(self, credentials: pki.Credentials) -> None:
        self._key = credentials.load_key()
        self._certificate = credentials.certificate.read_bytes()
        self._authority = pki.load_certificate(credentials.authority.read_bytes())

    # --- the host's side --------------------------------------------------------------------------------

    def open(self) -> tuple[Opening, X25519PrivateKey]:
        share = X25519PrivateKey.generate()
        opening = Opening(self._certificate, _public(share), secrets.token_bytes(NONCE_OCTETS))
        return msgspec.structs.replace(opening, signature=self._sign(_OPENING, opening)), share

    def finish(self, opening: Opening, share: X25519PrivateKey, answer: Answer, manager: pki.Identity) -> Session:
        """The session that an answer makes. Raises `Refusal` where it is not `manager`'s to this opening."""
        peer, certificate = pki.verified_identity(answer.certificate, self._authority)
        if peer != manager or answer.opening != opening.nonce:
            raise Refusal(f"answered by {peer.uri}, not by {manager.uri}")
        unsigned = msgspec.structs.replace(answer, signature=b"")
        _verify(certificate, answer.signature, _ANSWER, opening, unsigned)
        up, down = _keys(share, answer.share, opening.nonce + answer.nonce)
        return Session(opening.nonce, peer, up, down)

    # --- the manager's side -----------------------------------------------------------------------------

    def answer(self, opening: Opening) -> tuple[Answer, Session]:
        """Raises `Refusal` where the opening is not a host's of this region's authority, or not whole."""
        peer, certificate = pki.verified_identity(opening.certificate, self._authority)
        if peer.role is not pki.Role.HOST or len(opening.nonce) != NONCE_OCTETS:
            raise Refusal(f"{peer.uri} opens no link")
        _verify(certificate, opening.signature, _OPENING, msgspec.structs.replace(opening, signature=b""))
        share = X25519PrivateKey.generate()
        answer = Answer(opening.nonce, self._certificate, _public(share), secrets.token_bytes(NONCE_OCTETS))
        up, down = _keys(share, opening.share, opening.nonce + answer.nonce)
        signed = msgspec.structs.replace(answer, signature=self._sign(_ANSWER, opening, answer))
        return signed, Session(opening.nonce, peer, down, up)

    def _sign(self, context: bytes, *messages: Opening | Answer) -> bytes:
        return self._key.sign(_said(context, *messages), ec.ECDSA(hashes.SHA256()))


def _verify(certificate: x509.Certificate, signature: bytes, context: bytes, *messages: Opening | Answer) -> None:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Refusal("the certificate's key is of another kind")
    try:
        key.verify(signature, _said(context, *messages), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Refusal("forged") from None


def _said(context: bytes, *messages: Opening | Answer) -> bytes:
    return context + msgspec.msgpack.encode(messages)


def _keys(share: X25519PrivateKey, other: bytes, salt: bytes) -> tuple[ChaCha20Poly1305, ChaCha20Poly1305]:
    """Keys of the two directions: host to manager, manager to host."""
    try:
        secret = share.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise Refusal("forged") from None
    both = HKDF(hashes.SHA256(), 2 * KEY_OCTETS, salt, b"evenkeel link keys 1").derive(secret)
    return ChaCha20Poly1305(both[:KEY_OCTETS]), ChaCha20Poly1305(both[KEY_OCTETS:])


def _public(share: X25519PrivateKey) -> bytes:
    return share.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
