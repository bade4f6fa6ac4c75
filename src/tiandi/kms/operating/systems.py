"""SKIP's systems by the SAEs of a directory, as it is at the moment."""

from __future__ import annotations

from tiandi.kms.directory import Directory
from tiandi.kms.skip import Systems


class DirectorySystems(Systems):
    """As `Systems`, whose ``names`` are the system identifiers of the SAEs that ``directory`` knows now."""

    def __init__(self, directory: Directory, remote: tuple[str, ...]) -> None:
        super().__init__({}, remote)
        self._directory = directory

    def local_system(self, sae: str) -> str:
        """The system identifier of an SAE."""
        return self._now().local_system(sae)

    def sae(self, system: str) -> str:
        """The SAE of a remote system. Raises InputError for one that may not be asked for."""
        return self._now().sae(system)

    def _now(self) -> Systems:
        return Systems({name: sae.system_id for name, sae in self._directory.saes.items() if sae.system_id}, self.remote)
