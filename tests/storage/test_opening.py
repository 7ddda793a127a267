"""Addresses of files, folders and buckets."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError, StoreUnavailableError
from xaiserve.storage.opening import is_s3, list_pictures, open_store, read_uri
from xaiserve.storage.s3 import s3_client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hidden = (".hidden.png", "sub/.checkpoints/1.png", ".cache/deep/2.png")
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "notes.txt", *hidden):
        path = tmp_path / ".kept" / "some pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / ".kept" / "some pictures"


@pytest.fixture
def s3_folder(client: Any, bucket: str, folder: Path) -> str:
    for path in filter(Path.is_file, folder.rglob("*")):
        key = f"in/{path.relative_to(folder).as_posix()}"
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    client.put_object(Bucket=bucket, Key="in-other/d.png", Body=b"d")
    return f"s3://{bucket}/in"


def test_pictures_of_a_folder_are_listed_sorted(folder: Path) -> None:
    expected = tuple(str(folder / name) for name in ("a.jpg", "b.PNG", "sub/c.webp"))
    assert list_pictures(folder) == expected
    assert list_pictures(str(folder)) == expected
    assert list_pictures(folder.as_uri()) == expected


def test_pictures_of_a_prefix_are_listed_sorted(s3_folder: str, endpoint: str) -> None:
    expected = tuple(f"{s3_folder}/{name}" for name in ("a.jpg", "b.PNG", "sub/c.webp"))
    assert list_pictures(s3_folder, endpoint=endpoint) == expected
    assert list_pictures(f"{s3_folder}/", endpoint=endpoint) == expected


def test_a_single_file_is_listed_whatever_its_name(
    folder: Path, s3_folder: str, endpoint: str
) -> None:
    assert list_pictures(folder / "notes.txt") == (str(folder / "notes.txt"),)
    one = f"{s3_folder}/notes.txt"
    assert list_pictures(one, endpoint=endpoint) == (one,)


def test_each_listed_address_is_read(folder: Path, s3_folder: str, endpoint: str) -> None:
    assert [read_uri(uri) for uri in list_pictures(folder)] == [b"a.jpg", b"b.PNG", b"sub/c.webp"]
    first = list_pictures(s3_folder, endpoint=endpoint)[0]
    assert read_uri(first, endpoint=endpoint) == b"a.jpg"
    assert read_uri((folder / "a.jpg").as_uri()) == b"a.jpg"


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"folder with pictures .* with 1 other files"):
        list_pictures(tmp_path)


def test_an_empty_folder_is_not_told_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"must name a folder with pictures, got .*, which is empty"
    ):
        list_pictures(tmp_path)


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    for name in ("far/cat/1.png", "far/dog/2.png", "far/.hidden/4.png", "near/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    links = {
        "near/cat": "far/cat",
        "near/tom": "far/cat",
        "near/dog": "far/dog",
        "near/up": ".",
        "near/self": "near",
        "far/cat/other": "far/dog",
        "far/dog/other": "far/cat",
    }
    for link, end in links.items():
        (tmp_path / link).symlink_to(tmp_path / end)
    (tmp_path / "start").symlink_to("near")
    for folder in ("near", "start"):
        names = [
            uri.removeprefix(f"{tmp_path}/{folder}/") for uri in list_pictures(tmp_path / folder)
        ]
        assert names == [
            *("3.png", "cat/1.png", "cat/other/2.png"),
            *("dog/2.png", "dog/other/1.png", "tom/1.png", "tom/other/2.png"),
        ]
    assert open_store(tmp_path / "near").list() == ["3.png"]


def test_a_link_that_leads_nowhere_may_be_a_class_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    for link in (".#lock", "moved.png"):
        (tmp_path / link).symlink_to("/gone")
    assert len(list_pictures(tmp_path)) == 2  # the second fails as its own row
    (tmp_path / "cat").symlink_to("/gone/cat")
    with pytest.raises(InvalidInputError, match=r"link .*/cat leads to /gone/cat, where nothing"):
        list_pictures(tmp_path)


def test_a_link_that_cannot_be_followed_is_told(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "cat").symlink_to("/" + 300 * "x")  # a closed folder would not stop root
    with pytest.raises(StoreUnavailableError, match=r"/cat to /x+ cannot be followed: File name t"):
        list_pictures(tmp_path)


def test_slashes_may_follow_each_other_in_a_bucket(bucket: str, endpoint: str, client: Any) -> None:
    for key in ("slashes/a//1.png", "slashes//2.png"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    uris = list_pictures(f"s3://{bucket}/slashes", endpoint=endpoint)
    assert [read_uri(uri, endpoint=endpoint) for uri in uris] == [
        b"slashes//2.png",
        b"slashes/a//1.png",
    ]
    with pytest.raises(ArtifactNotFoundError, match=r"slashes/a///1\.png does not exist"):
        read_uri(f"s3://{bucket}/slashes/a///1.png", endpoint=endpoint)


def test_a_folder_that_cannot_be_read_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: str) -> Any:  # chmod would not stop root
        if Path(path).name in {"sub", ".cache"}:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreUnavailableError, match=r"pictures/sub cannot be read: Permission den"):
        list_pictures(folder)


def test_what_does_not_exist_is_told(tmp_path: Path, bucket: str, endpoint: str) -> None:
    for uri in (str(tmp_path / "no"), f"s3://{bucket}/no", f"s3://{bucket}"):
        with pytest.raises(ArtifactNotFoundError):
            list_pictures(uri, endpoint=endpoint)
        with pytest.raises(ArtifactNotFoundError):
            read_uri(uri, endpoint=endpoint)
    with pytest.raises(ArtifactNotFoundError, match="names a folder"):
        read_uri("/")


@pytest.mark.parametrize("uri", ["s3://", "gs://b/p", "http://x/y.png", "file://elsewhere/p"])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="address must be"):
        open_store(uri)


def test_a_store_is_rooted_at_its_address(bucket: str, endpoint: str, tmp_path: Path) -> None:
    for uri in (f"s3://{bucket}/out", str(tmp_path / "out")):
        store = open_store(uri, endpoint=endpoint)
        store.write("k", b"x")
        assert store.uri == uri
        assert read_uri(f"{uri}/k", endpoint=endpoint) == b"x"


def test_buckets_are_told_from_places_on_this_machine() -> None:
    assert is_s3("s3://b")
    assert not is_s3(Path("/s3"))


def test_an_endpoint_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(InvalidInputError, match=r"AWS_ENDPOINT_URL must be.*nonsense"):
        s3_client()


def test_a_client_has_the_credentials_that_are_there_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        s3_client.cache_clear()
        signed = s3_client("http://127.0.0.1:9").generate_presigned_url("list_buckets")
        assert f"={name}" in signed
