"""The cache: what is kept comes back whole, or not at all, and from nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpfscript.runtime.cache import Cache, place, trim


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


def entry(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").iterdir()
    return found


def test_what_is_kept_comes_back(cache: Cache, tmp_path: Path) -> None:
    assert cache.get("a", b"key") is None
    cache.put("a", b"key", b"data")
    assert cache.get("a", b"key") == b"data"
    assert cache.get("b", b"key") is cache.get("a", b"kex") is None
    cache.put("a", b"key", b"newer")
    assert cache.get("a", b"key") == b"newer"
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert entry(tmp_path).stat().st_mode & 0o777 == 0o600


def test_nothing_is_kept_without_a_place() -> None:
    cache = Cache(None)
    cache.put("a", b"key", b"data")
    assert cache.get("a", b"key") is None
    assert cache.refusal() is None


def test_damage_is_a_miss(cache: Cache, tmp_path: Path) -> None:
    cache.put("a", b"key", b"data")
    whole = entry(tmp_path).read_bytes()
    for at in range(len(whole)):
        entry(tmp_path).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.get("a", b"key") is None
        entry(tmp_path).write_bytes(whole[:at])
        assert cache.get("a", b"key") is None


def test_another_key_in_the_same_place(cache: Cache, tmp_path: Path) -> None:
    """Names of entries are short, so keys may meet; the whole key is compared."""
    cache.put("a", b"key", b"data")
    held = entry(tmp_path)
    cache.put("a", b"other", b"theirs")
    other = next(p for p in held.parent.iterdir() if p != held)
    other.replace(held)
    assert cache.get("a", b"key") is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_directory_that_others_reach_is_refused(cache: Cache, tmp_path: Path, mode: int) -> None:
    cache.put("a", b"key", b"data")
    (tmp_path / "cache").chmod(mode)
    assert cache.get("a", b"key") is None
    assert "open to others" in (cache.refusal() or "")


def test_links_are_not_followed(cache: Cache, tmp_path: Path) -> None:
    cache.put("a", b"key", b"data")
    (tmp_path / "cache").rename(tmp_path / "real")
    (tmp_path / "cache").symlink_to(tmp_path / "real")
    assert cache.get("a", b"key") is None
    assert "is not a directory" in (cache.refusal() or "")
    (tmp_path / "cache").unlink()
    (tmp_path / "real").rename(tmp_path / "cache")
    held = entry(tmp_path)
    held.rename(tmp_path / "elsewhere")
    held.symlink_to(tmp_path / "elsewhere")
    assert cache.get("a", b"key") is None


def test_entries_are_plain_files(cache: Cache, tmp_path: Path) -> None:
    cache.put("a", b"key", b"data")
    held = entry(tmp_path)
    held.unlink()
    os.mkfifo(held, 0o600)
    assert cache.get("a", b"key") is None


@pytest.mark.requires("root")
def test_what_belongs_to_another_user_is_refused(cache: Cache, tmp_path: Path) -> None:
    cache.put("a", b"key", b"data")
    os.chown(entry(tmp_path), 1000, 1000)
    assert cache.get("a", b"key") is None
    os.chown(tmp_path / "cache", 1000, 1000)
    assert cache.get("a", b"key") is None
    assert "belongs to user 1000" in (cache.refusal() or "")


def test_what_cannot_be_written_leaves_nothing(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put("a", b"key", b"data")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    cache.put("a", b"key", b"newer")
    assert cache.get("a", b"key") == b"data"
    assert entry(tmp_path)  # the only file


def test_the_size_is_bounded(cache: Cache, tmp_path: Path) -> None:
    for number in range(8):
        cache.put("a", bytes([number]), bytes(1000))
        for file in (tmp_path / "cache").iterdir():
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 1_000_000_000))
    directory = os.open(tmp_path / "cache", os.O_RDONLY)
    try:
        trim(directory, 4500)
    finally:
        os.close(directory)
    kept = [cache.get("a", bytes([number])) is not None for number in range(8)]
    assert kept == [False] * 4 + [True] * 4


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place({"BPFSCRIPT_CACHE": "off"}) is place({"BPFSCRIPT_CACHE": ""}) is None
    assert place({"BPFSCRIPT_CACHE": "/x"}) == "/x"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert place({"XDG_CACHE_HOME": "/home/u/.cache"}) == "/var/cache/bpfscript"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert place({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == "/c/bpfscript"
    assert place({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == "/h/.cache/bpfscript"
    assert place({}) is None
