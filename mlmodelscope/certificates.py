"""A small certificate authority: its own certificate, and those of servers that it signs."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bus.errors import InputError

VALID = timedelta(days=5 * 365)
SKEW = timedelta(minutes=5)
"""By how much the clock of whoever reads a certificate may be behind."""
PEM = serialization.Encoding.PEM
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def authority(folder: Path) -> str:
    """The authority's certificate, PEM; it and its key (ca.key) are made once."""
    path = folder / "ca.pem"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("MLModelScope certificate authority")
        certificate = (
            _begun(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_secret(folder / "ca.key", _pem(key))
        path.write_bytes(certificate.public_bytes(PEM))
    return path.read_text()


def server_certificate(folder: Path, hosts: Sequence[str]) -> list[Path]:
    """A server's certificate and key for these names and addresses, made anew each time."""
    if not (folder / "ca.key").exists():
        raise InputError(f"{folder / 'ca.key'} is not there: it signs the server's certificate")
    issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begun(_named(hosts[0]), issuer.subject, key)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .sign(signer, hashes.SHA256())
    )
    files = [folder / "server.pem", folder / "server.key"]
    files[0].write_bytes(certificate.public_bytes(PEM))
    write_secret(files[1], _pem(key))
    return files


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def check_hosts(hosts: Sequence[str]) -> None:
    """InputError for what is neither a name nor an address."""
    if not hosts:
        raise InputError("hosts: expected at least one name or address of the bus")
    for host in hosts:
        _host(host)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not all(
        _LABEL.fullmatch(part) for part in host.removeprefix("*.").split(".")
    ):
        raise InputError(f"host {host!r}: expected a name such as bus.example.org, or an address")
    return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
