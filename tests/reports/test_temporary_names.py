"""Names that libraries draw are one name in every run; ordinals, words and items stay as they are."""

import tempfile
import uuid
from pathlib import Path

import pytest

from crashmatrix.reports.temporary_names import TemporaryNames, as_pattern, paired_names, translated


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("tmp0qpowh5k", "tmp*"),
        ("tmpabcdefgh", "tmp*"),
        ("wal/tmp0qpowh5k", "wal/tmp*"),
        ("tmp0qpowh5k.json", "tmp*.json"),
        ("db.json.k3j2h1g_", "db.json.*"),
        (".hg/store/.phaseroots-hlyldkvx~", ".hg/store/.phaseroots-*~"),
        (".tmpXy12Ab", ".tmp*"),
        ("db.aBcDeF", "db.*"),
        ("db-3847562910.tmp", "db-*.tmp"),
        ("tmp3847562910", "tmp*"),
        ("part-00000-1c2d3e4f-1111-2222-3333-444455556666.parquet", "part-00000-*.parquet"),
        ("1c2d3e4f-1111-2222-3333-444455556666", "*"),
        ("blob.3fa9c1d27b", "blob.*"),
        ("blob_V1StGXR8Z5jdHi6B", "blob_*"),
    ],
)
def test_random_names(name: str, pattern: str) -> None:
    """The random part of a name is a star."""
    assert as_pattern(name) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "000006.sst becomes wal.5",
        "db.tmp becomes db.json, in place of the one before",
        "wal.segment1 and db.version2 and log.20240101",
        "store.config, data.Config, a.README, x.backup",
        "pg_wal/000000010000000000000001",
        "the store's folder: MANIFEST-000012 made",
        'no fsync before the acknowledgement of ["k","tmp0qpowh5k"]',
        "acknowledged, but gone: 1234567890 (of 1 acknowledged)",
        "db-journal, bytes 0 to 4,095; db-wal",
        "power:ext4~writeback~0:18-none",
    ],
)
def test_other_names_stay(text: str) -> None:
    """Ordinals, extensions, dates, items and scenarios are not random."""
    assert as_pattern(text) == text


def test_names_alike_are_random_together() -> None:
    """A name that could be a word is random beside one that is certainly random."""
    texts = ["db.k3j2h1 becomes db", "db.abcdef becomes db", "log.abcdef made"]
    names = TemporaryNames(texts)
    assert [names.as_one(text) for text in texts] == ["db.* becomes db", "db.* becomes db", "log.abcdef made"]


def test_names_by_libraries(tmp_path: Path) -> None:
    """The names that tempfile and uuid draw become the same text."""
    found = set()
    for _ in range(50):
        with tempfile.NamedTemporaryFile(dir=tmp_path, suffix=".new") as file:
            found.add(as_pattern(f"{Path(file.name).name} becomes {uuid.uuid4()}.parquet"))
    assert found == {"tmp*.new becomes *.parquet"}


THEIRS = ("bcc071f670114a28a251c8fd439600df", "98303ecbd9e24497a864cc4d2e28cb63")
MINE = ("1c2d3e4f-1111-2222-3333-444455556666", "8cd26936fd4c4cffac2b80f9ad298251")


@pytest.mark.parametrize(
    ("theirs", "mine", "pairs"),
    [
        pytest.param({"log": b"x"}, {"log": b"y"}, {}, id="the same names"),
        pytest.param({"log": b""}, {"lag": b""}, None, id="other names"),
        pytest.param({"log.1": b"", "log.2": b""}, {"log.3": b""}, None, id="another number of files"),
        pytest.param(
            {"20261130-215200.log": b"a", "20261130-215201.log": b"b"},
            {"20261201-000000.log": b"b", "20261201-000001.log": b"a"},
            {"20261130-215200.log": "20261201-000001.log", "20261130-215201.log": "20261201-000000.log"},
            id="by content",
        ),
        pytest.param(
            {"9.log": b"at 9", "10.log": b"at 10"},
            {"101.log": b"at 101", "99.log": b"at 99"},
            {"9.log": "99.log", "10.log": "101.log"},
            id="by order",
        ),
        pytest.param({"10.log": b"", "9.log": b""}, {"101.log": b"", "99.log": b""}, None, id="the order says nothing"),
        pytest.param(
            {
                "blobs": b"",
                "blobs/0x01": b"",
                "blobs/0x02": b"",
                "blobs/0x02/0x04c.blob": b"x",
                "blobs/0x01/0x040d.blob": b"x",
            },
            {
                "blobs": b"",
                "blobs/0x01": b"",
                "blobs/0x02": b"",
                "blobs/0x02/0x05c.blob": b"x",
                "blobs/0x01/0x050d.blob": b"x",
            },
            {"0x040d.blob": "0x050d.blob", "0x04c.blob": "0x05c.blob"},
            id="in the same folder",
        ),
        pytest.param(
            {"1764.d": b"", "1764.d/1764.log": b"x"},
            {"1796.d": b"", "1796.d/1796.log": b"y"},
            {"1764.d": "1796.d", "1764.log": "1796.log"},
            id="folders, too",
        ),
        pytest.param(
            {"tmpk3j2h1g_": b"", "tmpa3j2h1g_": b""}, {"tmpabcdefgh": b"", "tmpxbcdefgh": b""}, {}, id="random"
        ),
        pytest.param(
            {"tmpk3j2h1g_": b"1", "tmpa3j2h1g_": b"2"},
            {"tmpabcdefgh": b"1", "tmpxbcdefgh": b"2"},
            {"tmpk3j2h1g_": "tmpabcdefgh", "tmpa3j2h1g_": "tmpxbcdefgh"},
            id="random, with content",
        ),
        pytest.param(
            {
                f"{stem}.{end}": end.encode() + stem.encode() * (end == "store")
                for end in ("idx", "store")
                for stem in THEIRS
            },
            {f"{MINE[0]}.idx": b"idx", f"{MINE[1]}.idx": b"idx"}
            | {f"{mine}.store": b"store" + stem.encode() for stem, mine in zip(THEIRS, MINE, strict=True)},
            {
                f"{stem}.{end}": f"{mine}.{end}"
                for end in ("idx", "store")
                for stem, mine in zip(THEIRS, MINE, strict=True)
            },
            id="by a random part that others have",
        ),
        pytest.param(
            {f"{stem}.idx": b"" for stem in THEIRS}, {f"{stem}.idx": b"" for stem in MINE}, None, id="random parts only"
        ),
    ],
)
def test_paired_names(theirs: dict[str, bytes], mine: dict[str, bytes], pairs: dict[str, str] | None) -> None:
    """Files of two runs are found by content, or by the order of their names if that is the order in which they were made."""
    assert paired_names(theirs, mine) == pairs
    if pairs:
        assert {translated(path, pairs) for path in theirs} == {*mine}
