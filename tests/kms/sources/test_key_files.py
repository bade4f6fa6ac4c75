"""Key files: handed over until acknowledged, marked before that, wiped after it; what is not secret is not taken."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tiandi.errors import InputError, StateError
from tiandi.hosts.key_folder import KeyFolder
from tiandi.kms.sources.key_files import BLOCK_LIMIT_BYTE, BLOCKS_AT_ONCE, KeyFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder into which `tiandi distill` has put three blocks, the oldest first."""
    made = KeyFolder(tmp_path / "keys")
    for number in range(3):
        deliver(made.path, UUID(int=3 - number), number)
    return made.path


def deliver(folder: Path, block_id: UUID, age: int = 0) -> None:
    (folder / f"{block_id}.json").unlink(missing_ok=True)
    KeyFolder(folder).deliver(block_id, key(block_id), b"{}")
    os.utime(folder / f"{block_id}.key", ns=(age, age))


def key(block_id: UUID) -> bytes:
    return block_id.bytes * 10


@pytest.fixture
def source(folder: Path) -> Iterator[KeyFiles]:
    with KeyFiles(folder, peer="kme-b", own_half="first") as source:
        yield source


def names(folder: Path, suffix: str) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == suffix}


def test_blocks_are_handed_over_oldest_first_and_marked_before(source: KeyFiles, folder: Path) -> None:
    blocks = asyncio.run(source.take_blocks())
    assert [block.block_id.int for block in blocks] == [3, 2, 1]
    assert all(block.key == key(block.block_id) for block in blocks)
    assert names(folder, ".key") == set()
    assert len(names(folder, ".taken")) == 3
    assert (source.peer, source.own_half) == ("kme-b", "first")


def test_blocks_are_handed_over_until_they_are_acknowledged_and_then_no_more(source: KeyFiles, folder: Path) -> None:
    async def life() -> None:
        first = await source.take_blocks()
        assert await source.take_blocks() == sorted(first, key=lambda block: block.block_id, reverse=True)
        await source.acknowledge([first[0].block_id, uuid4()])
        await source.acknowledge([first[0].block_id])
        assert await source.take_blocks() == first[1:]
        await source.acknowledge([block.block_id for block in first])
        assert await source.take_blocks() == []

    asyncio.run(life())
    assert names(folder, ".taken") == set()
    assert len(names(folder, ".json")) == 3


def test_a_block_taken_by_a_process_that_died_is_handed_over_again(folder: Path) -> None:
    program = (
        "import asyncio, os, signal, sys, pathlib\n"
        "from tiandi.kms.sources.key_files import KeyFiles\n"
        "source = KeyFiles(pathlib.Path(sys.argv[1]), peer='kme-b', own_half='first')\n"
        "assert len(asyncio.run(source.take_blocks())) == 3\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, folder], check=False).returncode == -9
    with KeyFiles(folder, peer="kme-b", own_half="first") as source:
        assert {block.block_id.int for block in asyncio.run(source.take_blocks())} == {1, 2, 3}


def test_the_key_is_overwritten_before_its_file_goes(source: KeyFiles, folder: Path) -> None:
    with (folder / f"{UUID(int=1)}.key").open("rb") as held:
        blocks = asyncio.run(source.take_blocks())
        asyncio.run(source.acknowledge([block.block_id for block in blocks]))
        assert held.read() == bytes(160)


def test_two_processes_do_not_read_one_folder(source: KeyFiles, folder: Path) -> None:
    with pytest.raises(StateError, match="another process"):
        KeyFiles(folder, peer="kme-c", own_half="first")
    assert len(asyncio.run(source.take_blocks())) == 3


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        KeyFiles(tmp_path / "nowhere", peer="kme-b", own_half="first")


def test_what_is_no_block_is_left_alone(source: KeyFiles, folder: Path) -> None:
    for name in (".partial-abc", "notes.txt", "notes.key", f"{UUID(int=9).hex}.key", f"{UUID(int=9)}.key.partial"):
        (folder / name).write_bytes(b"x")
    assert len(asyncio.run(source.take_blocks())) == 3
    assert (folder / "notes.key").read_bytes() == b"x"


def test_a_large_backlog_is_handed_over_in_portions(source: KeyFiles, folder: Path) -> None:
    for _ in range(2 * BLOCKS_AT_ONCE):
        deliver(folder, uuid4())

    async def drain() -> set[UUID]:
        seen: set[UUID] = set()
        while blocks := await source.take_blocks():
            assert len(blocks) <= BLOCKS_AT_ONCE
            seen |= {block.block_id for block in blocks}
            await source.acknowledge([block.block_id for block in blocks])
        return seen

    assert len(asyncio.run(drain())) == 2 * BLOCKS_AT_ONCE + 3


@pytest.mark.parametrize("fault", ["readable", "empty", "long", "link", "second name", "folder"])
def test_a_file_whose_key_is_not_secret_or_not_whole_is_refused(source: KeyFiles, folder: Path, fault: str) -> None:
    path = folder / f"{UUID(int=1)}.key"
    if fault == "readable":
        path.chmod(0o640)
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "long":
        os.truncate(path, BLOCK_LIMIT_BYTE + 1)
    elif fault == "second name":
        os.link(path, folder / "copy")
    else:
        path.rename(folder / "elsewhere")
        path.symlink_to("elsewhere") if fault == "link" else path.mkdir()
    good = asyncio.run(source.take_blocks())
    assert [block.block_id.int for block in good] == [3, 2]
    asyncio.run(source.acknowledge([block.block_id for block in good]))
    with pytest.raises(InputError, match="key file") as refused:
        asyncio.run(source.take_blocks())
    assert str(path) in str(refused.value)
    assert names(folder, ".key") == {path.name}


def test_a_block_that_comes_back_while_it_is_taken_is_not_read_twice(source: KeyFiles, folder: Path) -> None:
    asyncio.run(source.take_blocks())
    deliver(folder, UUID(int=1))
    (folder / f"{UUID(int=1)}.key").write_bytes(b"other")
    blocks = asyncio.run(source.take_blocks())
    assert [block.key for block in blocks if block.block_id.int == 1] == [key(UUID(int=1))]
