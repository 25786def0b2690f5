"""The headers of a part: names as every client sends them."""

from __future__ import annotations

import pytest
from decoding import NAMES
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import dump_options_header, parse_options_header

from quart_uploads._receiving.part_head import parameters


@given(st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), NAMES, max_size=5))
def test_parameters_are_read_as_werkzeug_writes_and_reads_them(options: dict[str, str]) -> None:
    header = dump_options_header("form-data", options)
    assert parameters(header) == parse_options_header(header)[1] == options


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (r'form-data; filename="my \"best\" photo\\.jpg"', {"filename": 'my "best" photo\\.jpg'}),
        (r'form-data; filename="C:\dir\cat.jpg"', {"filename": r"C:\dir\cat.jpg"}),
        ('form-data; filename="%22a%22.jpg"', {"filename": '"a".jpg'}),
        ('form-data; name="a;b"; filename="c=d"', {"name": "a;b", "filename": "c=d"}),
        ("form-data;NAME=a ;\tFileName = my photo.jpg;", {"name": "a", "filename": "my photo.jpg"}),
        ("form-data; filename=写真.jpg", {"filename": "写真.jpg"}),
        ("form-data; filename*=UTF-8''%E5%86%99.jpg; filename=x.jpg", {"filename": "写.jpg"}),
        ("form-data; filename=\"\xe5\x86.jpg\"; filename*=utf-8'ja'%E5%86%99.jpg", {"filename": "写.jpg"}),
        ("form-data; filename*=\"UTF-8''%E5%86%99.jpg\"", {"filename": "写.jpg"}),
        ("form-data; name*=iso-8859-1''caf%E9", {"name": "café"}),
        ("form-data; filename*=GBK''%D5%D5.jpg", {"filename": "%D5%D5.jpg"}),
        ("form-data; filename*=unicode_escape''%5Cx41.jpg", {"filename": "%5Cx41.jpg"}),
        ("form-data; filename*1=b.jpg; filename*0=a", {"filename": "ab.jpg"}),
        ("form-data; filename*10=k; filename*2=c; filename*0=a", {"filename": "ack"}),
        ("form-data; filename*0*=UTF-8''%E5%86; filename*1*=%99; filename*2=.jpg", {"filename": "写.jpg"}),
        (f"form-data; filename*{'9' * 5000}=a", {"filename": "a"}),
        ("form-data; filename", {}),
        ("form-data", {}),
    ],
)
def test_parameters_of_odd_clients_are_read(header: str, expected: dict[str, str]) -> None:
    assert parameters(header) == expected
