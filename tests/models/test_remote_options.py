import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.models.remote_options import RemoteOptions, is_remote, read_address


def test_an_address_may_say_how_the_model_is_asked():
    address, options = read_address(
        "http://host:8000/v2/models/X?rows=8&in_flight=2&rows_per_second=0.5&patience=0"
    )

    assert address == "http://host:8000/v2/models/X"
    assert options == RemoteOptions(rows=8, in_flight=2, rows_per_second=0.5, patience=0)


def test_a_server_may_stand_below_a_path_and_name_a_version():
    address, options = read_address("https://host/below/v2/models/X/versions/3/")

    assert address == "https://host/below/v2/models/X/versions/3"
    assert options == RemoteOptions()


@pytest.mark.parametrize(
    "source", ["embedded", "C:/model", "owner/name", "a.b:factory", "s3://b/x"]
)
def test_other_sources_are_no_addresses(source: str):
    assert not is_remote(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://host/models/X", "http://HOST/v2/models/NAME"),
        ("http://host/v2/models/", "http://HOST/v2/models/NAME"),
        ("http:///v2/models/X", "http://HOST/v2/models/NAME"),
        ("http://me:secret@host/v2/models/X", "api_key_file"),
        ("http://host/v2/models/X?row=1", "'row'.*known are rows"),
        ("http://host/v2/models/X?rows=1&rows=2", "once"),
        ("http://host/v2/models/X?rows=0", "rows.*at least 1.*'0'"),
        ("http://host/v2/models/X?rows=99999999999", "rows"),
        ("http://host/v2/models/X?timeout=0", "timeout.*above 0"),
        ("http://host/v2/models/X?patience=-1", "patience.*at least 0"),
        ("http://host/v2/models/X?patience=inf", "patience.*finite"),
    ],
)
def test_what_is_wrong_with_an_address_is_one_sentence(source: str, words: str):
    with pytest.raises(InvalidInputError, match=words) as raised:
        read_address(source)
    assert "secret" not in str(raised.value)
