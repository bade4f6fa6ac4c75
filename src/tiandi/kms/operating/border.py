"""The border of a KME that runs: for each partner a port of its own, whose TLS trusts that partner's authority and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from litestar.types import ASGIApp

from tiandi.errors import InputError
from tiandi.kms.doors import etsi020
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.interworking.border_kme import Interworking
from tiandi.kms.interworking.errands import Call
from tiandi.kms.operating.configuration_tables import Configuration
from tiandi.kms.server import KmeServer, application, listen
from tiandi.kms.tls.contexts import ServerTls


def partner_tls(configuration: Configuration) -> dict[str, ServerTls]:
    """The serving end for each partner. Raises InputError unless its authority can be read and its revocations are known."""
    found = {}
    for number, partner in enumerate(configuration.partners):
        if not partner.is_at(configuration.kme.id):
            continue
        credentials = configuration.partner_credentials(partner)
        _require_readable(f"partners[{number}].authority", credentials.also_trusted)
        tls = ServerTls(credentials, rule=partner.rule())
        if tls.revocations.failure is not None:
            raise InputError(f"partners[{number}].revocations", str(credentials.revocations), tls.revocations.failure)
        found[partner.name] = tls
    return found


def _require_readable(field: str, files: tuple[Path, ...]) -> None:
    for file in files:
        try:
            x509.load_pem_x509_certificates(file.read_bytes())
        except OSError as error:
            raise InputError(field, str(file), f"cannot be read: {(error.strerror or '').lower()}") from None
        except ValueError:
            raise InputError(field, str(file), "must be a file of certificates (PEM)") from None


class Border:
    """What other networks see of one KME. `open` after the entity, `start`, and `close` before it."""

    def __init__(self, configuration: Configuration, entity: KeyManagementEntity, call: Call) -> None:
        self._configuration = configuration
        self.interworking = Interworking(entity, call)
        self._servers: list[KmeServer] = []
        self.addresses: list[str] = []

    def open(self, tls: Mapping[str, ServerTls], counted: Callable[[ASGIApp], ASGIApp]) -> None:
        """Begin to listen; ``counted`` is what each application goes through. Raises StateError for a port that is taken."""
        c = self._configuration
        for number, partner in enumerate(c.partners):
            if partner.name not in tls or partner.port is None:
                continue
            listener = listen(partner.port, f"partners[{number}].port", c.listen.address)
            app = application(etsi020.routes(self.interworking, [partner.name]))
            self._servers.append(KmeServer(self.interworking, counted(app), tls[partner.name], listener))
            self.addresses.append(f"{partner.name} at port {partner.port}")

    async def start(self) -> None:
        """Serve, and take up what was left."""
        for server in self._servers:
            await server.start()

    async def close(self) -> None:
        """Answer what was asked, then stop; what goes on stands in the store."""
        for server in self._servers:
            await server.stop()
