"""A whole node in C and its connections: how they end, and what the board keeps from one to the next."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from lines import FAULTS
from node_line import GRADIENT_SCALE, LIMIT_MS, Bench, large_layer, sgd, small_layer, weights_of

from cutlayer_host.board_messages import Forgotten, Provisioned, Restored, Saved
from cutlayer_host.link import Lost
from cutlayer_host.smashed_data import SmashedData


def test_a_board_reset_is_noticed_and_the_next_connection_works() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    bench.board.reset()
    bench.host.stats()
    assert isinstance(bench.event(), Lost)
    assert bench.connect().last_step == 0
    bench.configure()
    bench.train_step(sgd(bench.layer), 1)


@pytest.mark.parametrize("moment", ["capturing", "sending", "awaiting", "adding", "half step"])
def test_a_new_connection_drops_the_half_step_and_nothing_else(moment: str) -> None:
    bench = Bench(large_layer(), sensor_steps=50, step_ms=1.0)
    bench.connect()
    bench.configure()
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    if moment == "half step":
        smashed = bench.sample(1, 1)
        bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
        bench.line.run(lambda: bench.board.node.session.train.samples_in_step == 1, LIMIT_MS)
    else:
        bench.host.sample(1, 1, train=True)
        state = "AWAITING" if moment == "adding" else moment.upper()
        bench.line.run(lambda: bench.board.state == state, LIMIT_MS)
        if moment == "adding":
            smashed = bench.event()
            bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
            bench.line.run(lambda: bench.board.state == "ADDING", LIMIT_MS)
    bench.events.clear()
    assert bench.connect().last_step == 1
    bench.configure(restart=0)
    bench.train_step(reference, 2)
    assert np.array_equal(bench.board.master(), weights_of(reference))


@pytest.mark.parametrize("faults", FAULTS)
def test_a_board_that_is_reset_goes_on_from_what_it_saved(faults: str) -> None:
    bench = Bench(small_layer(), FAULTS[faults], seed=3, storage_bytes=4096)
    bench.connect()
    bench.configure(run=7)
    reference = sgd(bench.layer)
    for step in (1, 2):
        bench.train_step(reference, step)
    bench.host.save(2)
    bench.host.sample(1, 1, train=False)  # waits until all is saved
    saved = bench.event()
    assert isinstance(saved, Saved)
    assert (saved.step, saved.saves) == (2, 1)
    assert isinstance(bench.event(), SmashedData)
    bench.rest()
    bench.host.stats()
    counters = bench.event().named()
    assert (counters["saves"], counters["storage_bytes"]) == (1, saved.bytes)
    assert counters["save_ticks"] > 0
    bench.board.reset()
    welcome = bench.connect()
    assert (welcome.run, welcome.last_step, welcome.held) == (7, 2, ((7, 2),))
    bench.host.restore(7, 2)
    restored = bench.event()
    assert restored == Restored(run=7, step=2, weights_crc=zlib.crc32(weights_of(reference).tobytes()))
    bench.configure(restart=0, run=7)
    bench.train_step(reference, 3)


@pytest.mark.parametrize("forget", [False, True])
def test_with_the_answer_to_a_new_key_or_to_none_the_connection_ends(forget: bool) -> None:
    bench = Bench(small_layer(), storage_bytes=4096, keyed=True)
    assert bench.connect().device_id == bytes(8)
    device_id = b"a device"
    bench.host.provision(device_id, bytes(32))
    assert bench.event() == Provisioned(device_id=device_id)
    bench.rest()
    if forget:
        assert bench.connect().device_id == device_id
        bench.host.forget()
        assert bench.event() == Forgotten()
        bench.rest()
    bench.host.stats()
    assert isinstance(bench.event(), Lost)
    assert bench.connect().device_id == (bytes(8) if forget else device_id)
