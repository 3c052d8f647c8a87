"""Frames: whole messages out of any cut of the stream, and nothing else."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.link.frames import Frames, LinkLost, pack
from pictofs.link.messages import FRAME_LIMIT_BYTES, Account, Ask, Attach, Cancel, Look, Request, Want

MESSAGES = [
    Look(1, 2**63 - 1, True),
    Want(2, 77 << 8 | 16, 0, 3, lost=True),
    Cancel(2),
    Ask(3, "status", {"deep": ["é", None]}),
    Attach(4, 1, "0.1.0", "/mnt", 7, [Account("http://h", "pk_live_secret", "", "auto", {"ttl_s": 2.0})]),
]


@given(st.lists(st.integers(1, 200), max_size=40))
def test_messages_arrive_whole_and_in_order_however_the_stream_is_cut(cuts: list[int]) -> None:
    stream = b"".join(map(pack, MESSAGES))
    frames: Frames[Request] = Frames(Request)
    got: list[Request] = []
    for cut in cuts:
        piece, stream = stream[:cut], stream[cut:]
        got += frames.feed(piece)
    got += frames.feed(stream)
    assert got == MESSAGES


def test_a_frame_over_the_limit_is_refused_before_its_body_arrives() -> None:
    with pytest.raises(LinkLost, match="over the limit"):
        Frames(Request).feed(struct.pack(">I", FRAME_LIMIT_BYTES + 1))
    with pytest.raises(ValueError, match="exceeds the frame limit"):
        pack(Ask(1, "advise", {"paths": "x" * FRAME_LIMIT_BYTES}))


def test_what_is_no_message_ends_the_link_without_repeating_its_content() -> None:
    body = msgspec.msgpack.encode(["attach", 1, "pk_live_secret"])
    with pytest.raises(LinkLost) as caught:
        Frames(Request).feed(struct.pack(">I", len(body)) + body)
    assert "pk_live_secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_repr_of_an_attach_holds_no_key() -> None:
    assert "pk_live_secret" not in repr(MESSAGES[-1])
