"""What a board has learned, kept in its storage: saved, restored, and whole again after any power cut."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ram_storage import STORAGE_ERROR
from session_board import ADAM, SGD, Board

from cutlayer_host.board_messages import Applied, Configured, Restored, RunStep, Saved, StatsAre, Welcome
from cutlayer_host.codes import NO_STEP, ErrorCode, Flag, Kind
from cutlayer_host.host_messages import Apply, Configure, Hello, Rescale, Restore, Save, Stats
from cutlayer_host.message import Error

FLASH = {"erasable": True, "block_bytes": 128}
RUN = SGD.run
HEAD_BYTES, HEADER_BYTES, KEYS_BYTES = 80, 24, 256


class Keeper(Board):
    """A board with storage that can train by itself."""

    def __init__(self, configuration: Configure = SGD, **options: Any) -> None:
        super().__init__(**{"storage_bytes": 4096} | options)
        self.configuration = configuration
        self.storage = self.board.storage
        self.greet(configuration)

    def train(self, *steps: int) -> None:
        """A step's gradient depends on nothing but its number."""
        for step in steps:
            self.rng = np.random.default_rng(step)
            self.add()
            applied = self.tell(Apply(step=step, samples=1, learning_rate=0.05))
            assert isinstance(applied, Applied)

    def restart(self) -> Welcome:
        """The power goes and comes; the storage works again."""
        self.storage.budget, self.storage.fails = None, False
        self.board.reset()
        return self.welcome()

    def welcome(self) -> Welcome:
        welcome = self.tell(Hello())
        assert isinstance(welcome, Welcome)
        return welcome

    def go_on(self) -> int:
        """Configures without a restart. Returns the step."""
        configured = self.tell(replace(self.configuration, restart=0))
        assert isinstance(configured, Configured)
        return configured.last_step

    def memory(self) -> list[bytes]:
        """All that training goes on from."""
        train, layer = self.session.train, self.layer
        count = layer.weights.size + layer.channels
        parts = [(train.weights, layer.weights.size), (train.shift, layer.channels)]
        parts += [(part, 4 * layer.channels) for part in (train.bias, train.multiplier, train.weight_scale)]
        parts += [(part, 4 * count) for part in (train.master, train.moment1, train.moment2) if part]
        parts += [(part, 2 * count) for part in train.bfloat16 if part]
        scalars = [train.step, train.output_scale, train.beta1_power, train.beta2_power]
        scalars += [train.params.output_zero_point, train.params.activation_min, train.params.activation_max]
        return [*(bytes(self.ffi.buffer(part, count)) for part, count in parts), repr(scalars).encode()]


@pytest.mark.parametrize("master", [0, 1], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("medium", [{}, FLASH], ids=["file", "flash"])
@pytest.mark.parametrize("configuration", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_board_goes_on_from_what_it_saved(
    configuration: Configure, medium: dict[str, Any], master: int
) -> None:
    undisturbed = Keeper(configuration, master=master)
    board = Keeper(configuration, master=master, **medium)
    for each in (undisturbed, board):
        each.tell(Rescale(scale=each.layer.output_scale * 1.5, zero_point=-120))
    undisturbed.train(*range(1, 13))
    board.train(*range(1, 8))
    kept = board.memory()
    saved = board.save(7)
    assert (saved.step, saved.saves) == (7, 1)
    board.train(8, 9)
    welcome = board.restart()
    state = RunStep(configuration.run, 7)
    assert (welcome.run, welcome.last_step, welcome.held, welcome.saves) == (*state, (state,), 1)
    assert welcome.flags & (Flag.STORAGE | Flag.CONFIGURED) == Flag.STORAGE | Flag.CONFIGURED
    assert board.memory() == kept
    assert board.go_on() == 7
    board.train(*range(8, 13))
    assert board.memory() == undisturbed.memory()


@pytest.mark.parametrize("medium", [{}, FLASH])
def test_a_power_cut_at_every_byte_of_a_save_leaves_a_state_to_go_on_from(medium: dict[str, Any]) -> None:
    board = Keeper(**medium)
    memories = {}
    for step in (1, 2, 3):
        board.train(step)
        memories[step] = board.memory()
        written = board.storage.written
        assert isinstance(board.save(step), Saved)
        whole = board.storage.written - written
        if step == 2:
            before = bytes(board.storage.data)
    for cut in (*range(0, whole, 3), whole - 1, whole):
        board.storage.data[:] = before
        board.restart()
        board.go_on()
        board.train(3)
        board.storage.budget = cut
        answer = board.save(3)
        assert isinstance(answer, Saved) == (cut == whole)
        assert board.restart().last_step == (3 if cut == whole else 2)
        assert board.memory() == memories[3 if cut == whole else 2]


def test_storage_that_fails_is_an_error_and_changes_nothing() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.train(2)
    board.storage.fails = True
    memory, data = board.memory(), bytes(board.storage.data)
    assert board.save(2) == Error(about=Kind.SAVE, code=ErrorCode.STORAGE, detail=2**32 + STORAGE_ERROR)
    assert (board.memory(), bytes(board.storage.data)) == (memory, data)
    assert board.welcome().held == ((RUN, 1),)
    board.train(3)
    board.storage.fails = False
    assert board.save(3).saves == 2
    assert board.restart().held == ((RUN, 3), (RUN, 1))


@pytest.mark.parametrize("storage_bytes", [0, 200, KEYS_BYTES, 600])
def test_without_room_there_is_no_saving(storage_bytes: int) -> None:
    board = Keeper(storage_bytes=storage_bytes)
    assert not board.welcome().flags & Flag.STORAGE
    board.train(1)
    assert board.refusal(Save(step=1)) == (Kind.SAVE, ErrorCode.STORAGE)
    code = ErrorCode.VALUE if storage_bytes else ErrorCode.STORAGE
    assert board.refusal(Restore(run=RUN, step=1)) == (Kind.RESTORE, code)
    assert board.state == "READY"
    board.train(2)


def test_a_head_without_a_trainable_layer_has_nothing_to_save() -> None:
    board = Board(storage_bytes=4096, trainable=False)
    board.greet(Configure(cut=1))
    assert board.refusal(Save(step=0)) == (Kind.SAVE, ErrorCode.STORAGE)
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    assert not welcome.flags & Flag.STORAGE


def test_what_save_refuses() -> None:
    board = Keeper()
    board.train(1)
    for step in (0, 2, NO_STEP):
        assert board.refusal(Save(step=step)) == (Kind.SAVE, ErrorCode.STEP)
    board.add()
    assert board.refusal(Save(step=1)) == (Kind.SAVE, ErrorCode.STATE)
    assert board.storage.written == 0


def test_a_state_that_a_slot_holds_is_not_written_again() -> None:
    board = Keeper()
    board.train(1)
    saved = board.save(1)
    written = board.storage.written
    assert board.save(1) == saved
    board.train(2)
    assert board.save(2).saves == 2
    assert board.tell(Restore(run=RUN, step=1)) is not None
    board.go_on()
    assert board.save(1) == Saved(step=1, saves=2, bytes=0)
    assert board.storage.written == 2 * written
    board.restart()
    board.go_on()
    assert board.save(2) == Saved(step=2, saves=2, bytes=0)
    # Rescaled, it is another state of the same step.
    board.tell(Rescale(scale=0.5, zero_point=-128))
    assert board.save(2).saves == 3
    stats = board.tell(Stats())
    assert isinstance(stats, StatsAre)
    assert (stats.named()["saves"], stats.named()["storage_bytes"]) == (1, saved.bytes)
    assert saved.bytes == HEADER_BYTES + HEAD_BYTES + 12 * 6 + (4 * 2 + 1) * 36


def test_a_restored_state_is_the_one_that_was_saved() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    memory, applied = board.memory(), board.tell(Apply(step=1, samples=1, learning_rate=0.05))
    board.train(2)
    board.save(2)
    board.train(3)
    board.sample()
    assert board.welcome().held == ((RUN, 2), (RUN, 1))
    restored = board.tell(Restore(run=RUN, step=1))
    assert isinstance(restored, Restored)
    assert isinstance(applied, Applied)
    assert restored == Restored(run=RUN, step=1, weights_crc=applied.weights_crc)
    assert board.state == "GREETED"
    assert board.memory() == memory
    assert board.go_on() == 1
    # The last answer is part of the state.
    assert board.tell(Apply(step=1, samples=1, learning_rate=0.05)) == applied


@pytest.mark.parametrize("state", [(RUN, 2), (RUN + 1, 1), (0, 1), (RUN, NO_STEP)])
def test_a_state_that_no_slot_holds_is_refused(state: tuple[int, int]) -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.train(2)
    memory = board.memory()
    assert board.refusal(Restore(run=state[0], step=state[1])) == (Kind.RESTORE, ErrorCode.VALUE)
    assert (board.state, board.memory()) == ("READY", memory)


def test_a_slot_that_has_rotted_is_refused_and_changes_nothing() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.train(2)
    memory = board.memory()
    board.storage.data[KEYS_BYTES + HEADER_BYTES + HEAD_BYTES + 200] ^= 1
    assert board.refusal(Restore(run=RUN, step=1)) == (Kind.RESTORE, ErrorCode.VALUE)
    assert (board.state, board.memory()) == ("READY", memory)
    assert board.welcome().held == ()
    assert board.restart().last_step == 0


def test_storage_that_changes_while_it_is_read_leaves_the_converted_weights() -> None:
    board = Keeper()
    converted = board.memory()
    board.train(1)
    board.save(1)
    board.storage.rots_after = board.storage.reads + 9  # past the check, amid the loading
    assert board.refusal(Restore(run=RUN, step=1)) == (Kind.RESTORE, ErrorCode.STORAGE)
    welcome = board.welcome()
    assert (welcome.run, welcome.last_step) == (0, 0)
    assert not welcome.flags & Flag.CONFIGURED
    assert board.tell(SGD) == Configured(last_step=0)
    assert board.memory() == converted


def test_another_models_state_is_not_used_and_is_overwritten_first() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.board.model.id[0] = 99
    welcome = board.restart()
    assert (welcome.last_step, welcome.held, welcome.saves) == (0, (), 1)
    board.tell(SGD)
    board.train(1, 2)
    assert board.save(2).saves == 2  # over the stranger's slot, as no other is worth more
    board.train(3)
    board.save(3)
    board.board.model.id[0] = 0
    assert board.restart().held == ()


def test_a_state_of_an_optimizer_that_does_not_fit_is_not_used() -> None:
    board = Keeper(ADAM)
    board.train(1)
    board.save(1)
    small = Keeper(optimizer_max=0)
    small.storage.data[:] = board.storage.data
    assert small.restart().held == ()


def test_a_run_is_what_configure_names() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.tell(replace(SGD, restart=0, run=5))
    assert board.save(1).saves == 2
    assert board.restart().held == ((5, 1), (RUN, 1))
    assert isinstance(board.tell(Restore(run=RUN, step=1)), Restored)
    assert board.welcome().run == RUN


def test_a_cut_leaves_the_state_that_a_run_went_on_from() -> None:
    board = Keeper()
    for step in (1, 2, 3):
        board.train(step)
        board.save(step)
    board.tell(Restore(run=RUN, step=2))
    board.go_on()
    board.train(3, 4)
    board.storage.budget = 100
    assert isinstance(board.save(4), Error)
    assert board.restart().held == ((RUN, 2),)


def test_a_save_cut_short_by_a_new_connection_can_be_done_again() -> None:
    board = Keeper()
    board.train(1)
    board.save(1)
    board.train(2)
    assert board.tell(Save(step=2)) is None
    assert (
        board.board.saver.calls.save(
            board.board.saver, board.session, board.ffi.new("struct cl_link_token *")
        )
        == 0
    )
    assert board.lib.cl_session_event(board.session, board.lib.CL_EVENT_OPENED) == 0
    assert board.welcome().held == ((RUN, 1),)
    board.go_on()
    assert board.save(2).saves == 2
    assert board.restart().held == ((RUN, 2), (RUN, 1))


def test_any_storage_is_survived() -> None:
    """Noise, and states with flipped bits."""
    board = Keeper()
    board.train(1)
    board.save(1)
    kept, rng = bytes(board.storage.data), random.Random(1)
    for _ in range(100):
        board.storage.data[:] = kept if rng.random() < 0.8 else rng.randbytes(len(kept))
        for _ in range(rng.randrange(1, 20)):
            board.storage.data[rng.randrange(KEYS_BYTES, KEYS_BYTES + 500)] = rng.randrange(256)
        assert board.restart().last_step == 0
