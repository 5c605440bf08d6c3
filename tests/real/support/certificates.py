"""Certificates, made when they are needed."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


def _key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _certificate(name: str, key, issuer: str, issuer_key, *extensions) -> x509.Certificate:
    named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256())


def _write(folder: Path, name: str, certificate, key) -> tuple:
    key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    certificate_file.write_bytes(certificate.public_bytes(pem))
    return key_file, certificate_file


def self_signed(name: str, folder: Path) -> tuple:
    """An RSA key and a certificate that it signed itself: the files of both."""
    key = _key()
    return _write(folder, name, _certificate(name, key, name, key), key)


def for_loopback(folder: Path) -> tuple:
    """A key and a certificate of a server on loopback, and the certificate of the authority that signed it."""
    authority_key, key = _key(), _key()
    is_authority = x509.BasicConstraints(ca=True, path_length=0)
    authority = _certificate("tests", authority_key, "tests", authority_key, is_authority)
    address = ipaddress.ip_address("127.0.0.1")
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(address)])
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = _certificate("localhost", key, "tests", authority_key, names, key_id)
    authority_file = folder / "authority.pem"
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    return (*_write(folder, "server", certificate, key), authority_file)
