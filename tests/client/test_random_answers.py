"""No document at random is the answer to an order or a send, and none makes a call raise anything but an APIError."""

from __future__ import annotations

import json
from functools import partial

import pytest

from bitmm.xwrap.client import Backend, OutcomeUnknown, XWrap
from bitmm.xwrap.transport import Response
from tests.client.test_answers import ADDRESS, ORDER, QUESTIONS, SEND, SUBMISSIONS, error_of
from tests.support.marked_secrets import PASSWORD, USER

hypothesis = pytest.importorskip("hypothesis", reason="documents at random need hypothesis, from the test extra")
st = hypothesis.strategies
SCALARS = (
    st.none() | st.booleans() | st.integers(-1, 50) | st.sampled_from(["", "filled", "done", "BTC", "0.1", ADDRESS])
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ORDER, *SEND, "key"]), inner),
    max_leaves=12,
)


class StubTransport:
    """Answers everything with one document."""

    def __init__(self, document: object) -> None:
        self.document = document

    def send(self, _request, **_):
        return Response(200, {}, json.dumps(self.document).encode())


@hypothesis.settings(max_examples=500, deadline=None, derandomize=True, database=None)
@hypothesis.given(document=DOCUMENTS)
def test_a_document_at_random_is_never_believed_after_an_order_or_a_send(document):
    xwrap = XWrap()
    xwrap._api._transport = StubTransport(document)
    backend = Backend(7, USER, PASSWORD, xwrap)
    for submit, _ in SUBMISSIONS.values():
        with pytest.raises(OutcomeUnknown):
            submit(backend, key="mine")
    for ask, _, _ in QUESTIONS.values():
        error_of(partial(ask, xwrap, backend))
