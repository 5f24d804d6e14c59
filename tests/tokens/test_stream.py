import pickle
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from tests.tokens.toys import folder
from treasure import TokenDataset
from treasure.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens")
    folder(path, [50, 31, 40], row_group=15)
    return path


def stream(place: Path, batch_size: int = 8, **options):
    options = {"shuffle": True, "seed": 3, "shuffle_jets": 30, **options}
    return TokenDataset(place, columns=["event"]).iterate(batch_size, **options)


def events(batches) -> list[list[int]]:
    return [batch["event"].tolist() for batch in batches]


def loaded(source, workers: int, **options) -> list[list[int]]:
    return events(DataLoader(source, batch_size=None, num_workers=workers, **options))


def test_batches_hold_every_jet_with_its_tokens(place):
    dataset = TokenDataset(place, columns=["event"], specials=["eos"])
    by_event = {jet["event"].item(): jet["tokens"].tolist() for jet in dataset}
    for options in ({}, {"shuffle": True}, {"bucket": True}, {"shuffle": True, "bucket": True}):
        for layout in ("padded", "packed"):
            seen = []
            for batch in dataset.iterate(8, layout=layout, shuffle_jets=30, **options):
                seen += batch["event"].tolist()
                if layout == "padded":
                    found = [t[m] for t, m in zip(batch["tokens"], batch["mask"], strict=True)]
                else:
                    found = torch.tensor_split(batch["tokens"], batch["offsets"][1:-1])
                for tokens, event in zip(found, batch["event"].tolist(), strict=True):
                    assert tokens.tolist() == by_event[event]
            assert sorted(seen) == list(range(121))
            assert (seen == list(range(121))) == (options == {})


def test_what_is_done_to_a_batch_stays_in_it(place):
    source = stream(place, shuffle=False)
    before = events(source)
    for batch in source:
        for values in batch.values():
            values.zero_()
    assert events(source) == before


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_order_does_not_depend_on_the_number_of_workers(place, workers):
    expected = events(stream(place))
    assert loaded(stream(place), workers) == expected
    assert sorted(chain(*expected)) == list(range(121))
    assert len(stream(place)) == len(expected)


def test_a_worker_that_is_no_copy_of_this_process_knows_its_rank(place, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    source = stream(place)
    expected = events(source)
    copied = pickle.loads(pickle.dumps(source))
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert events(copied) == expected
    assert sum(map(len, expected)) == 40


@pytest.mark.slow
def test_workers_that_are_spawned(place):
    source = stream(place, epoch=2)
    assert loaded(source, 2, multiprocessing_context="spawn") == events(source)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 7), st.integers(2, 30), st.booleans(), st.booleans())
def test_ranks_share_the_jets_in_equal_numbers_of_batches(place, ranks, size, shuffle, bucket):
    parts = [
        events(stream(place, size, shuffle=shuffle, bucket=bucket, rank=rank, world_size=ranks))
        for rank in range(ranks)
    ]
    assert sorted(jet for part in parts for batch in part for jet in batch) == list(range(121))
    assert len({len(part) for part in parts}) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 122, "drop_last": True},
        {"batch_size": 61, "drop_last": True, "rank": 1, "world_size": 2},
        {"batch_size": 8, "rank": 0, "world_size": 122},
    ],
)
def test_an_epoch_without_a_batch_warns(place, options):
    said = f"no batch in an epoch: 121 jets, batch_size {options['batch_size']}, rank"
    with pytest.warns(UserWarning, match=said):
        assert list(stream(place, **options)) == []


def test_an_epoch_with_a_batch_does_not_warn(place, recwarn):
    assert len(list(stream(place, 121, drop_last=True))) == 1
    finished = stream(place)
    finished.load_state_dict(finished.state_dict(batches=len(finished)))
    assert list(finished) == []
    assert not [each for each in recwarn if "no batch" in str(each.message)]


def test_epochs_differ_and_come_again(place):
    source = stream(place)
    first = events(source)
    source.set_epoch(1)
    second = events(source)
    source.set_epoch(0)
    assert events(source) == first == events(source)
    assert first != second
    assert events(stream(place, epoch=1)) == second


def test_workers_that_live_on_see_the_epoch(place):
    source = stream(place)
    loader = DataLoader(source, batch_size=None, num_workers=2, persistent_workers=True)
    found = []
    for epoch in range(3):
        source.set_epoch(epoch)
        found.append(events(loader))
    assert found == [events(stream(place, epoch=epoch)) for epoch in range(3)]


@pytest.mark.parametrize("bucket", [False, True])
def test_a_pass_goes_on_in_the_middle(place, bucket):
    whole = events(stream(place, epoch=2, bucket=bucket))
    for taken in range(len(whole) + 1):
        source = stream(place, epoch=2, bucket=bucket)
        pass_of_it = iter(source)
        for _ in range(taken):
            next(pass_of_it)
        resumed = stream(place, bucket=bucket)
        resumed.load_state_dict(pickle.loads(pickle.dumps(source.state_dict())))
        assert resumed.epoch == 2
        assert events(resumed) == whole[taken:]
        assert events(resumed) == whole  # the next pass is whole


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (3, 2)])
def test_a_plain_loader_goes_on_with_any_number_of_workers(place, before, after):
    whole = events(stream(place))
    source = stream(place)
    loader = iter(DataLoader(source, batch_size=None, num_workers=before))
    for _ in range(7):
        next(loader)
    resumed = stream(place)
    resumed.load_state_dict(source.state_dict(batches=7))
    again = DataLoader(resumed, batch_size=None, num_workers=after)
    assert events(again) == whole[7:]
    assert events(again) == whole
    resumed.set_epoch(1)
    assert events(again) == events(stream(place, epoch=1))


def test_workers_that_live_on_go_on_once(place):
    whole = events(stream(place))
    source = stream(place)
    loader = DataLoader(source, batch_size=None, num_workers=2, persistent_workers=True)
    assert events(loader) == whole
    source.load_state_dict(stream(place).state_dict(batches=5))
    assert events(loader) == whole[5:]
    assert events(loader) == whole


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("taken", [1, 6, 16])
def test_a_stateful_loader_goes_on_in_the_middle(place, workers, taken):
    whole = events(stream(place, epoch=1))
    source = stream(place, epoch=1)
    loader = StatefulDataLoader(source, batch_size=None, num_workers=workers)
    pass_of_it = iter(loader)
    for _ in range(taken):
        next(pass_of_it)
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    resumed = StatefulDataLoader(stream(place), batch_size=None, num_workers=workers)
    resumed.load_state_dict(state)
    assert events(resumed) == whole[taken:]
    assert events(resumed) == whole  # the next pass is whole


def test_a_state_of_other_batches_is_refused(place, tmp_path):
    state = stream(place).state_dict(batches=3)
    folder(tmp_path, [50, 31, 40], row_group=15)
    stream(tmp_path).load_state_dict(state)  # the same files elsewhere
    for other in (
        stream(place, 9),
        stream(place, seed=4),
        stream(place, shuffle=False),
        stream(place, bucket=True),
        stream(place, drop_last=True),
        stream(place, shuffle_jets=20),
        stream(place, rank=0, world_size=2),
        TokenDataset(place, labels=1).iterate(8, shuffle=True, seed=3, shuffle_jets=30),
    ):
        with pytest.raises(DataError, match="the state is that of another stream"):
            other.load_state_dict(state)
    for wrong in (
        None,
        {},
        {**state, "next": "3"},
        {**state, "epoch": -1},
        {**state, "next": True},
    ):
        with pytest.raises(DataError, match="not the state of a token stream"):
            stream(place).load_state_dict(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"batch_size": 2.5}, "batch_size 2.5; expected a whole number"),
        ({"seed": -1}, "seed -1"),
        ({"epoch": -1}, "epoch -1"),
        ({"layout": "ragged"}, "layout 'ragged'; expected padded or packed"),
        ({"shuffle_jets": 0}, "shuffle_jets 0"),
        ({"rank": 3, "world_size": 2}, "rank 3 of world_size 2"),
        ({"rank": 1}, "give both or none"),
    ],
)
def test_options_that_cannot_be(place, options, message):
    with pytest.raises(ConfigError, match=message):
        stream(place, **options)
    with pytest.raises(ConfigError, match="epoch -2"):
        stream(place).set_epoch(-2)
