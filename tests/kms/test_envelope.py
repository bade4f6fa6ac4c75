import stat
from pathlib import Path

import pytest

from tiandi.errors import StateError
from tiandi.kms.envelope import Envelope, create_master_key


def test_only_the_same_context_opens() -> None:
    envelope = Envelope(bytes(32), "store")
    sealed = envelope.seal(b"secret", "key 1")
    assert envelope.open(sealed, "key 1") == b"secret"
    for other, context in ((envelope, "key 2"), (Envelope(bytes(32), "other"), "key 1"), (Envelope(b"1" * 32, "store"), "key 1")):
        with pytest.raises(StateError):
            other.open(sealed, context)


@pytest.mark.parametrize("place", [0, 11, 12, -1])
def test_a_changed_byte_is_refused(place: int) -> None:
    envelope = Envelope(bytes(32), "store")
    sealed = bytearray(envelope.seal(b"secret", "key"))
    sealed[place] ^= 1
    with pytest.raises(StateError, match="altered"):
        envelope.open(bytes(sealed), "key")


def test_sealing_twice_looks_different() -> None:
    envelope = Envelope(bytes(32), "store")
    assert envelope.seal(b"secret", "key") != envelope.seal(b"secret", "key")


def test_a_master_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = create_master_key(path)
    assert path.read_bytes() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_master_key(path)
