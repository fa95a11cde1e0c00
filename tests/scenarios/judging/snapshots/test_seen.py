"""Files that are as they were at the last look are recognised, and all others are, too."""

import mmap
import os
from pathlib import Path

import pytest

from crashmatrix.scenarios.judging.snapshots import seen as module
from crashmatrix.scenarios.judging.snapshots.seen import Seen
from crashmatrix.scenarios.judging.snapshots.sparse import look_at

SIZES = [0, 1, 4096, (1 << 16) + 5, 3 << 16, (1 << 18) + 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill", ["zeros", "ones", "a byte in zeros", "a hole"])
def test_a_digest_is_that_of_a_first_look(tmp_path: Path, size: int, fill: str) -> None:
    """Whether the content is known or not, and whatever it is."""
    path, seen = tmp_path / "file", Seen()
    content = bytearray(b"1" * size if fill == "ones" else bytes(size))
    content[size // 2 : size // 2 + 1] = (
        b"x" if fill == "a byte in zeros" and size else content[size // 2 : size // 2 + 1]
    )
    path.write_bytes(content)
    if fill == "a hole":
        os.truncate(path, size + (1 << 17))
    with path.open("rb") as file:
        looks = [seen.content(file.fileno(), os.fstat(file.fileno())) for _ in range(2)]
        assert looks == [look_at(file.fileno(), os.fstat(file.fileno()).st_size)] * 2


@pytest.mark.parametrize("folder", ["/dev/shm", "/var/tmp"])
def test_a_store_to_a_mapped_file_is_seen(folder: str) -> None:
    """It need change neither the size nor a time."""
    path, seen = Path(folder, f"crashmatrix-test-{os.getpid()}"), Seen()
    try:
        path.write_bytes(bytes(8192))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[0] = 1
            digests = set()
            for value in range(3):
                mapped[5000] = value
                os.utime(path, ns=(7, 7))
                digests.add(seen.content(file.fileno(), os.fstat(file.fileno()))[0])
        assert len(digests) == 3
    finally:
        path.unlink(missing_ok=True)


def test_another_file_of_the_same_number_is_another(tmp_path: Path) -> None:
    """Numbers of inodes are used again."""
    path, seen = tmp_path / "file", Seen()
    digests = set()
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        with path.open("rb") as file:
            digests.add(seen.content(file.fileno(), os.fstat(file.fileno()))[0])
        path.unlink()
    assert len(digests) == 3


def test_equal_entries_are_one_object_and_others_are_not(tmp_path: Path) -> None:
    """Everything that `Entry` holds tells two apart."""
    (tmp_path / "file").touch()
    state = (tmp_path / "file").stat()
    seen = Seen()
    one = seen.entry("file", state, "digest", (), 7)
    assert seen.entry("file", (tmp_path / "file").stat(), "digest", (), 7) is one
    others = [
        seen.entry("file", state, "another", (), 7),
        seen.entry("file", state, "digest", (("user.a", b"1"),), 7),
        seen.entry("file", state, "digest", (), 7, ((0, 1),)),
        seen.entry("file", state, "digest", (), 8),
    ]
    os.utime(tmp_path / "file", ns=(1, 2))
    others.append(seen.entry("file", (tmp_path / "file").stat(), "digest", (), 7))
    assert (others[-1].accessed_ns, others[-1].modified_ns) == (1, 2)
    (tmp_path / "file").chmod(0o600)
    others.append(seen.entry("file", (tmp_path / "file").stat(), "digest", (), 7))
    assert len({id(entry) for entry in (one, *others)}) == 7


def test_it_forgets_before_it_grows_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten file is looked at as if for the first time."""
    monkeypatch.setattr(module, "_BYTES_MAX", 10_000)
    monkeypatch.setattr(module, "_ENTRIES_MAX", 3)
    seen, paths = Seen(), [tmp_path / str(number) for number in range(10)]
    for _ in range(2):
        for number, path in enumerate(paths):
            path.write_bytes(bytes([number]) * 4000)
            with path.open("rb") as file:
                state = os.fstat(file.fileno())
                digest, extents = seen.content(file.fileno(), state)
                assert (digest, extents) == look_at(file.fileno(), state.st_size)
            assert seen.entry("file", state, digest, (), 0, extents).content == digest
