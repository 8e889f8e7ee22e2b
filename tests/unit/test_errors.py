"""Exceptions. Goal: each status of the library has one class, in the right family, and says what the table says."""

import pickle
import re
from pathlib import Path

import pytest

from kvspic import _lib, errors
from kvspic.local.acks import AckError

TABLE = Path(__file__).parents[2] / "csrc" / "include" / "kvspic_status.h"
ROWS = re.findall(r'X\((\w+), (-\d+), (\w+), "([^"]*)"\)', TABLE.read_text(encoding="utf-8"))


def test_the_library_gives_the_whole_table():
    found = [(row.name, str(row.status), row.status_class.name, row.text) for row in _lib.status_rows()]
    assert found == ROWS


@pytest.mark.parametrize(("name", "number", "family", "text"), ROWS)
def test_each_status_has_its_class(name, number, family, text):
    found = errors.BY_STATUS[int(number)]
    assert found.__name__ == errors.class_name(name)
    assert found.__name__ in errors.__all__
    assert issubclass(found, errors.BY_CLASS[errors.StatusClass[family]])
    assert found.status_class.name == family
    assert found.name == name


@pytest.mark.parametrize(("name", "number", "family", "text"), ROWS)
def test_check_raises_the_class_with_the_sentence(name, number, family, text):
    with pytest.raises(errors.KvsError) as caught:
        _lib.check(int(number))
    assert type(caught.value) is errors.BY_STATUS[int(number)]
    assert caught.value.status == int(number)
    assert str(caught.value) == text


def test_no_class_is_left_without_a_status():
    families = {errors.KvsError, *errors.BY_CLASS.values()}
    made = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.KvsError)}
    assert made - families == set(errors.BY_STATUS.values()) - families


def test_usage_errors_are_value_errors():
    assert issubclass(errors.UnknownTrackError, ValueError)
    assert not issubclass(errors.StoreFullError, ValueError)


def test_a_count_and_ok_pass_unchanged():
    assert [_lib.check(status) for status in (0, 1, 77)] == [0, 1, 77]


def test_an_unknown_status_is_an_internal_error():
    with pytest.raises(errors.InternalError, match="unknown status -12345"):
        _lib.check(-12345)


def test_detail_stands_behind_the_sentence():
    status = next(int(number) for name, number, _, _ in ROWS if name == "NOT_FOUND")
    assert str(errors.from_status(status, "DescribeStream failed")).endswith("created: DescribeStream failed")
    assert str(errors.named("TIMED_OUT", "not ready")) == "not ready"


def test_an_error_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.named("STORE_FULL")))
    assert isinstance(error, errors.StoreFullError)
    assert error.status == errors.named("STORE_FULL").status


def test_the_table_of_error_acks_is_the_librarys():
    table = (TABLE.parent / "kvspic_acks.h").read_text(encoding="utf-8")
    rows = re.findall(r'X\((\d+), (\w+), (\w+), "([^"]*)",[ \\\n]*"([^"]*)"\)', table)
    found = [(str(row.error_id), row.name, row.about.name, row.text, row.remedy) for row in errors.REFUSALS.values()]
    assert len(found) == 25
    assert found == rows


def test_the_table_of_error_acks_knows_all_that_the_endpoint_can_say():
    for error in AckError:
        assert errors.refusal_of(int(error)).name == error.name


def test_an_error_ack_of_an_unknown_id_is_about_the_session():
    found = errors.refusal_of(5002)
    assert (found.error_id, found.name, found.about) == (5002, "UNKNOWN", errors.RefusalClass.SESSION)
