"""A certificate authority in small: certificates and keys as PEM files."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs what it is asked to, into `directory`; its own certificate is `ca`."""

    def __init__(self, directory, name="authority"):
        self.directory, self.name = directory, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key.public_key(), authority=True)
        self.ca = self._write(f"{name}.crt", self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name):
        """Paths of a certificate for `localhost` and 127.0.0.1, and of its key; the same name is written over."""
        key = ec.generate_private_key(ec.SECP256R1())
        # The key first, as tools do that replace both.
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key_path = self._write(f"{name}.key", pem)
        certificate = self._sign(name, key.public_key())
        return self._write(f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM)), key_path

    def _sign(self, name, public_key, authority=False):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _write(self, name, text):
        path = self.directory / name
        path.write_bytes(text)
        return str(path)


def trusting(authority, cert=None):
    """A client's SSL context: it knows the authority, and shows `cert`, a pair of paths."""
    context = ssl.create_default_context(cafile=authority.ca)
    # Python asks for more of a certificate than a test needs.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert:
        context.load_cert_chain(*cert)
    return context
