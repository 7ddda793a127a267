"""What every store must do: subclass `StoreContract` and provide the fixture ``store``."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ClassVar

import pytest

from xaiserve.errors import ArtifactNotFoundError, ConflictError, InvalidInputError
from xaiserve.storage.objects import ObjectStore, exists, read_if_there


class StoreContract:
    """Tests of `ObjectStore`; a subclass has a fixture ``store`` that gives an empty one.

    ``atomic_creates`` is False of a server whose create-once only looks before it writes, so that
    of several who create the same key at the same moment more than one may be told that it has.
    """

    atomic_creates: ClassVar[bool] = True

    def test_what_was_written_is_read(self, store: ObjectStore) -> None:
        store.write("a/b.bin", b"\x00\xff")
        assert store.read("a/b.bin") == b"\x00\xff"
        assert store.size("a/b.bin") == 2

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.write("empty", b"")
        assert store.read("empty") == b""
        assert exists(store, "empty")

    def test_a_range_is_read(self, store: ObjectStore) -> None:
        store.write("digits", b"0123456789")
        assert store.read_range("digits", 3, 4) == b"3456"
        assert store.read_range("digits", 8, 100) == b"89"

    def test_writing_again_replaces(self, store: ObjectStore) -> None:
        store.write("k", b"long ago")
        store.write("k", b"now")
        assert store.read("k") == b"now"

    def test_absence_is_one_error(self, store: ObjectStore) -> None:
        store.write("folder/file", b"")
        for key in ("no", "folder", "folder/no", "folder/file/no"):
            for ask in (store.read, store.remove, store.size):
                with pytest.raises(ArtifactNotFoundError, match="does not exist"):
                    ask(key)
            with pytest.raises(ArtifactNotFoundError, match="does not exist"):
                store.read_range(key, 0, 1)
            assert not exists(store, key)
            assert read_if_there(store, key) is None

    def test_removed_is_absent(self, store: ObjectStore) -> None:
        store.write("k", b"")
        store.remove("k")
        assert not exists(store, "k")
        assert list(store.list()) == []

    def test_a_description_has_sizes_and_times(self, store: ObjectStore) -> None:
        before = time.time()
        store.write("a/b", b"four")
        store.write("a/c", b"")
        store.write("b", b"")
        found = store.describe("a/")
        assert [(each.key, each.size) for each in found] == [("a/b", 4), ("a/c", 0)]
        # Some stores know whole seconds only.
        assert all(before - 1 <= each.modified <= time.time() + 1 for each in found)

    def test_keys_are_listed_sorted_by_any_prefix(self, store: ObjectStore) -> None:
        for key in ("b", "a/2", "a/1/x", "ab"):
            store.write(key, b"")
        assert list(store.list()) == ["a/1/x", "a/2", "ab", "b"]
        assert list(store.list("a")) == ["a/1/x", "a/2", "ab"]
        assert list(store.list("a/")) == ["a/1/x", "a/2"]
        assert list(store.list("a/1/x/y")) == []
        assert list(store.list("z/z")) == []

    def test_what_is_written_once_stays(self, store: ObjectStore) -> None:
        store.write("once", b"first", create_only=True)
        with pytest.raises(ConflictError, match="exists already"):
            store.write("once", b"second", create_only=True)
        assert store.read("once") == b"first"
        assert list(store.list()) == ["once"]

    def test_of_many_who_create_one_wins(self, store: ObjectStore) -> None:
        writers = 8
        start = Barrier(writers)

        def create(i: int) -> bool:
            start.wait()
            try:
                store.write("once", str(i).encode(), create_only=True)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(create, range(writers)))
        assert won.count(True) == 1 or (won.count(True) and not self.atomic_creates)
        assert won[int(store.read("once"))]

    def test_a_reader_never_sees_half_an_object(self, store: ObjectStore) -> None:
        contents = [bytes([i]) * 200_000 for i in (1, 2)]
        store.write("k", contents[0])

        def write(_: int) -> None:
            for content in contents:
                store.write("k", content)

        with ThreadPoolExecutor(2) as pool:
            writing = [pool.submit(write, i) for i in range(10)]
            while not all(job.done() for job in writing):
                assert store.read("k") in contents
                assert list(store.list()) == ["k"]
            for job in writing:
                job.result()

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\\b"])
    def test_a_key_that_leaves_the_store_is_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidInputError, match="key must be names joined by"):
            store.write(key, b"")

    def test_errors_name_the_address(self, store: ObjectStore) -> None:
        with pytest.raises(ArtifactNotFoundError) as caught:
            store.read("no/such")
        assert f"{store.uri}/no/such" in str(caught.value)
