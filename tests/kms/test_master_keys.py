import base64
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError, StateError
from tiandi.kms.store import master_keys
from tiandi.kms.store.master_keys import MasterKey, create_master_key_file, open_master_key, write_secret

KEY = bytes(range(100, 132))
PIN = "87654321"
SOFTHSM_MODULES = [
    os.environ.get("SOFTHSM2_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
]


def key_file(folder: Path, key: bytes = KEY) -> Path:
    path = folder / "master.key"
    write_secret(path, key)
    return path


def printing(text: str) -> str:
    return shlex.join([sys.executable, "-c", f"print({text!r})"])


# What any master key does.


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A SoftHSM token; called with the label of a key, it gives the setting that opens that key."""
    pkcs11 = pytest.importorskip("pkcs11", reason="the package python-pkcs11 is not installed")
    module, tool = next((path for path in SOFTHSM_MODULES if os.path.exists(path)), None), shutil.which("softhsm2-util")
    if not module or not tool:
        pytest.skip("SoftHSM 2 is not installed (Debian: softhsm2), or SOFTHSM2_MODULE and PATH do not lead to it")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        make = [tool, "--module", module, "--init-token", "--free", "--label", "kme", "--so-pin", "12345678", "--pin", PIN]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        attribute = pkcs11.Attribute
        with pkcs11.lib(module).get_token(token_label="kme").open(user_pin=PIN, rw=True) as session:
            for label, length_bit, extractable in (
                ("main key", 256, False),
                ("next", 256, False),
                ("loose", 256, True),
                ("short", 128, False),
            ):
                template = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: extractable}
                session.generate_key(pkcs11.KeyType.AES, length_bit, label=label, store=True, template=template)
        write_secret(folder / "pin", f"{PIN}\n".encode())
        write_secret(folder / "wrong-pin", b"00000000")

        def setting(label: str, pin: str = "pin", token: str = "kme") -> str:
            return f"pkcs11:token={token};object={label.replace(' ', '%20')}?module-path={module}&pin-source=file:{folder / pin}"

        yield setting


@pytest.fixture(params=["file", "environment", "command", "pkcs11"])
def master_key(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MasterKey:
    monkeypatch.setenv("TIANDI_MASTER_KEY", KEY.hex())
    settings: dict[str, Callable[[], str]] = {
        "file": lambda: f"file:{key_file(tmp_path)}",
        "environment": lambda: "environment:TIANDI_MASTER_KEY",
        "command": lambda: f"command:{printing(KEY.hex())}",
        "pkcs11": lambda: request.getfixturevalue("token")("main key"),
    }
    return open_master_key(settings[request.param]())


def test_what_was_wrapped_is_unwrapped(master_key: MasterKey) -> None:
    assert master_key.unwrap(master_key.wrap(b"a data key", b"here"), b"here") == b"a data key"


def test_wrapping_twice_looks_different_and_hides_the_data_key(master_key: MasterKey) -> None:
    first, second = master_key.wrap(b"a data key", b"here"), master_key.wrap(b"a data key", b"here")
    assert first != second
    assert b"a data key" not in first


def test_what_was_wrapped_elsewhere_is_refused(master_key: MasterKey) -> None:
    with pytest.raises(StateError):
        master_key.unwrap(master_key.wrap(b"a data key", b"here"), b"there")


@pytest.mark.parametrize("place", [0, 12, 20, -1])
def test_a_changed_byte_is_refused(master_key: MasterKey, place: int) -> None:
    wrapped = bytearray(master_key.wrap(b"a data key", b"here"))
    wrapped[place] ^= 1
    with pytest.raises(StateError):
        master_key.unwrap(bytes(wrapped), b"here")


@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_a_torn_rest_is_refused(master_key: MasterKey, length: int) -> None:
    with pytest.raises(StateError):
        master_key.unwrap(master_key.wrap(b"a data key", b"here")[:length], b"here")


# Keys in memory.


def test_a_key_has_one_name_wherever_it_is_read_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN_BASE64", base64.b64encode(KEY).decode() + "\n")
    monkeypatch.setenv("ANOTHER", "11" * 32)
    kept = open_master_key(f"file:{key_file(tmp_path)}")
    moved = open_master_key("environment:IN_BASE64")
    asked = open_master_key(f"command:{printing(KEY.hex().upper())}")
    assert kept.name == moved.name == asked.name
    assert moved.unwrap(kept.wrap(b"a data key", b"here"), b"here") == b"a data key"
    assert open_master_key("environment:ANOTHER").name != kept.name
    assert KEY.hex()[:8] not in kept.name


def test_another_key_does_not_unwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOTHER", "11" * 32)
    wrapped = open_master_key(f"file:{key_file(tmp_path)}").wrap(b"a data key", b"here")
    with pytest.raises(StateError):
        open_master_key("environment:ANOTHER").unwrap(wrapped, b"here")


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "zz" * 32, "é" * 64, base64.b64encode(bytes(31)).decode(), "YWJj*" * 10])
def test_text_of_another_length_or_form_is_refused_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIANDI_MASTER_KEY", text)
    for setting in ("environment:TIANDI_MASTER_KEY", f"command:{printing(text)}"):
        with pytest.raises(InputError, match="64 hexadecimal digits") as caught:
            open_master_key(setting)
        assert not text or text not in str(caught.value)


@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_every_key_can_be_written_as_text(key: bytes, hexadecimal: bool) -> None:
    text = key.hex() if hexadecimal else base64.b64encode(key).decode()
    assert master_keys._from_text(f" {text}\n", "here") == key


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(StateError, match="NO_SUCH_VARIABLE"):
        open_master_key("environment:NO_SUCH_VARIABLE")


@pytest.mark.parametrize("setting", ["", KEY.hex(), "vault:secret", f"{KEY.hex()}:x"])
def test_a_setting_of_no_known_kind_is_refused_and_not_shown(setting: str) -> None:
    with pytest.raises(InputError, match="must be file:PATH") as caught:
        open_master_key(setting)
    assert KEY.hex() not in str(caught.value)


# Commands.


def test_a_command_sees_no_shell(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_master_key(f"command:echo {KEY.hex()} > {tmp_path / 'leak'}")
    assert not (tmp_path / "leak").exists()


def test_a_command_that_fails_gives_no_key() -> None:
    failing = shlex.join([sys.executable, "-c", f"print({KEY.hex()!r}); raise SystemExit(3)"])
    with pytest.raises(StateError, match="status 3"):
        open_master_key(f"command:{failing}")


def test_a_command_that_hangs_is_given_up_without_a_trace_of_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_keys, "COMMAND_TIMEOUT_S", 0.5)
    hanging = shlex.join([sys.executable, "-c", f"import time; print({KEY.hex()!r}, flush=True); time.sleep(60)"])
    with pytest.raises(StateError, match=r"within 0\.5 s") as caught:
        open_master_key(f"command:{hanging}")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("command", "problem"), [("/no/such/program", "cannot be run"), ("", "name a program"), ("echo 'open", "name a program")]
)
def test_a_command_that_cannot_be_run_is_refused(command: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_master_key(f"command:{command}")


# Files.


def test_a_created_master_key_is_random_and_its_owners_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    create_master_key_file(first)
    create_master_key_file(second)
    assert len(first.read_bytes()) == 32
    assert first.read_bytes() != second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert open_master_key(f"file:{first}").name != open_master_key(f"file:{second}").name


def test_a_file_that_is_there_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    with pytest.raises(FileExistsError):
        create_master_key_file(path)
    assert path.read_bytes() == KEY
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_master_key_file(tmp_path / "master.key")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o610, 0o666])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(StateError, match="chmod 600"):
        open_master_key(f"file:{path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    os.chown(path, 12345, 12345)
    with pytest.raises(StateError, match="belong"):
        open_master_key(f"file:{path}")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(InputError, match=f"holds {length}$"):
        open_master_key(f"file:{key_file(tmp_path, bytes(length))}")


def test_what_is_no_plain_small_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path, key_file(tmp_path, bytes(5000)), tmp_path / "absent", "nul\0nul"):
        with pytest.raises(StateError, match="secret file"):
            open_master_key(f"file:{path}")


# Tokens.


def test_two_keys_of_one_token_serve_in_turn(token: Callable[..., str]) -> None:
    main, following = open_master_key(token("main key")), open_master_key(token("next"))
    assert main.name == "pkcs11:token=kme;object=main key"
    wrapped = main.wrap(b"a data key", b"here")
    anew = following.wrap(main.unwrap(wrapped, b"here"), b"here")
    assert following.unwrap(anew, b"here") == b"a data key"
    with pytest.raises(StateError):
        following.unwrap(wrapped, b"here")


@pytest.mark.parametrize("label", ["loose", "short"])
def test_a_key_that_can_leave_its_token_or_is_short_is_refused(token: Callable[..., str], label: str) -> None:
    with pytest.raises(StateError, match="cannot be extracted"):
        open_master_key(token(label))


def test_a_token_or_key_or_pin_that_is_not_there_is_refused(token: Callable[..., str]) -> None:
    wrong = (token("absent"), token("main key", token="absent"), token("main key", pin="wrong-pin"), token("main key", pin="no-pin"))
    for setting in (*wrong, token("main key").replace("libsofthsm2", "absent")):
        with pytest.raises(StateError) as caught:
            open_master_key(setting)
        assert PIN not in str(caught.value)
    assert open_master_key(token("main key")).wrap(b"a data key", b"here")


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ("token=a?module-path=m&pin-source=p", "give object"),
        ("token=a;token=b;object=o?module-path=m&pin-source=p", "once"),
        ("token=a;object=o;serial=1?module-path=m&pin-source=p", "nothing else"),
        ("token=a;object=?module-path=m&pin-source=p", "once"),
        ("token=a;object=o?module-path=m&pin-value=87654321", "pin-source"),
        ("", "once"),
    ],
)
def test_a_token_is_named_in_full_and_without_its_pin(attributes: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        open_master_key(f"pkcs11:{attributes}")
    assert PIN not in str(caught.value)
