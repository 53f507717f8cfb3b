"""The sentences of errors, taken together: none of them is a riddle."""

from __future__ import annotations

import re

import pytest

from tests.error_sentences import all_sentences

#: Refusals of what a caller or an administrator gave.
GIVEN = {"InvalidRequest", "Problem", "SettingsError", "stop", "_bad", "malformed_key"}
#: The fields may be secrets, so none is shown.
SHOWS_NOTHING = {"a POST takes its fields in the body, none in the address"}


@pytest.fixture(scope="module")
def sentences():
    return all_sentences()


def test_the_list_has_the_sentences_of_all_parts(sentences):
    assert len(sentences) > 300
    assert {place.partition("/")[0] for place, *_ in sentences} >= {
        "money.py",
        "transport.py",
        "cli",
        "exchanges",
        "server",
    }


def test_what_must_be_otherwise_is_named_as_it_was_given(sentences):
    silent = [
        one
        for one in sentences
        if one.maker in GIVEN and re.search(r"\bmust be\b|\btakes\b", one.text) and "{" not in one.text
    ]
    assert [one for one in silent if one.text not in SHOWS_NOTHING] == []


def test_a_sentence_is_a_part_of_one_that_is_put_together(sentences):
    """No capital letter but a name's, no full stop at the end: it stands after the name of the command, or in JSON."""
    assert [one for one in sentences if one.text.endswith((".", "!", "?", " "))] == []
