"""The order of the rows: a function of seed and epoch, shared out exactly, continued where it stopped."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcourse.data.loading import EpochSampler, Loader, Rows


def batches(sampler, epoch=0):
    sampler.set_epoch(epoch)
    found = [batch.tolist() for batch in sampler]
    assert len(found) == len(sampler)
    return found


def order(sampler, epoch=0):
    return [row for batch in batches(sampler, epoch) for row in batch]


def trainer(rows, batch, seed=0, **shares):
    return EpochSampler(rows, batch, seed=seed, train=True, **shares)


def test_the_order_is_a_function_of_seed_and_epoch():
    assert order(trainer(100, 7), 3) == order(trainer(100, 7), 3)
    assert order(trainer(100, 7), 3) == order(trainer(100, 32), 3)  # whatever the batch size
    orders = [tuple(order(trainer(100, 7, seed), epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16


def test_the_global_random_numbers_play_no_part():
    torch.manual_seed(0)
    first, state = order(trainer(50, 8), 1), torch.get_rng_state()
    torch.manual_seed(1)
    assert order(trainer(50, 8), 1) == first
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


@settings(deadline=None)
@given(rows=st.integers(1, 300), batch=st.integers(1, 64), epoch=st.integers(0, 5))
def test_training_serves_every_row_once(rows, batch, epoch):
    found = batches(trainer(rows, batch), epoch)
    assert sorted(row for rows_ in found for row in rows_) == list(range(rows))
    assert all(len(rows_) == batch for rows_ in found[:-1])
    assert 1 <= len(found[-1]) <= batch + 1


@pytest.mark.parametrize("world", [1, 2])
def test_a_last_row_alone_joins_the_batch_before(world):
    sizes = [len(batch) for batch in batches(trainer(33 * world, 8, world=world))]
    assert sizes == [8, 8, 8, 9]
    assert [len(batch) for batch in batches(trainer(34 * world, 8, world=world))] == [8, 8, 8, 8, 2]
    assert [len(batch) for batch in batches(trainer(world, 8, world=world))] == [1]  # no batch before it


@settings(deadline=None)
@given(rows=st.integers(1, 200), batch=st.integers(1, 20), world=st.integers(1, 5), epoch=st.integers(0, 3))
def test_ranks_share_the_training_rows(rows, batch, world, epoch):
    """Disjoint, equally many, in as many batches; all rows but the few left over."""
    if rows < world:
        return
    ranks = [batches(trainer(rows, batch, rank=rank, world=world), epoch) for rank in range(world)]
    assert len({tuple(len(part) for part in found) for found in ranks}) == 1
    seen = [row for found in ranks for part in found for row in part]
    assert len(seen) == len(set(seen)) == rows - rows % world


def test_the_rows_left_over_change_each_epoch():
    left = []
    for epoch in range(20):
        seen = {row for rank in range(4) for row in order(trainer(43, 5, rank=rank, world=4), epoch)}
        left.append(frozenset(range(43)) - seen)
    assert all(len(rows) == 3 for rows in left)
    assert len(set(left)) > 10 and len(frozenset.union(*left)) > 20


@pytest.mark.parametrize("world", [2, 4])
def test_half_the_batch_on_each_of_two_ranks_is_the_same_batch(world):
    whole = batches(trainer(96, 8), 2)
    parts = [batches(trainer(96, 8 // world, rank=rank, world=world), 2) for rank in range(world)]
    joined = [sorted(row for part in step for row in part) for step in zip(*parts, strict=True)]
    assert joined == [sorted(batch) for batch in whole]


@settings(deadline=None)
@given(rows=st.integers(1, 400), batch=st.integers(1, 64), world=st.integers(1, 6))
def test_evaluation_sees_each_row_once_in_as_many_batches_on_every_rank(rows, batch, world):
    ranks = [batches(EpochSampler(rows, batch, rank=rank, world=world)) for rank in range(world)]
    assert len({len(found) for found in ranks}) == 1
    assert sorted(row for found in ranks for part in found for row in part) == list(range(rows))
    assert all(len(part) <= batch for found in ranks for part in found)


def test_evaluation_is_in_order_for_any_seed_and_epoch():
    assert order(EpochSampler(20, 6, seed=3), 5) == list(range(20))


def loader(epoch=1, workers=0, rows=30, batch=4):
    x = torch.arange(rows, dtype=torch.float32).unsqueeze(1)
    sampler = trainer(rows, batch)
    sampler.set_epoch(epoch)
    return Loader(Rows(x, x * 2, torch.arange(rows) + 100), sampler, num_workers=workers)


def test_a_batch_is_inputs_targets_and_row_numbers():
    for x, y, index, *_ in loader():
        assert torch.equal(y, x * 2) and torch.equal(index, x[:, 0].long() + 100)
        assert x.shape[1:] == (1,) and x.dtype == torch.float32 and index.dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("served", [0, 1, 5, 7])
def test_a_new_loader_goes_on_where_the_state_stands(workers, served):
    whole = [batch.index.tolist() for batch in loader()]
    one = loader(workers=workers)
    source = iter(one)
    begun = [next(source)[2].tolist() for _ in range(served)]
    state = one.state_dict()
    other = loader(workers=workers)
    other.load_state_dict(state)
    assert begun + [batch.index.tolist() for batch in other] == whole
    other.sampler.set_epoch(2)
    assert [batch.index.tolist() for batch in other] == [batch.index.tolist() for batch in loader(2)]


def test_a_state_that_went_on_can_be_saved_again():
    whole = [batch.index.tolist() for batch in loader()]
    state, found = {}, []
    for served in (2, 3, 3):
        one = loader()
        if state:
            one.load_state_dict(state)
        source = iter(one)
        found += [next(source)[2].tolist() for _ in range(served)]
        state = one.state_dict()
    assert found == whole


def test_the_state_of_one_epoch_skips_nothing_of_the_next():
    """An epoch may end before its rows do (trainer.limit_train_batches)."""
    one = loader(epoch=1)
    source = iter(one)
    for _ in range(3):
        next(source)
    other = loader(epoch=2)
    other.load_state_dict(one.state_dict())
    assert [batch.index.tolist() for batch in other] == [batch.index.tolist() for batch in loader(2)]


def test_the_state_of_a_whole_epoch_begins_the_next():
    one = loader(epoch=1)
    assert len(list(one)) == len(one) == 8
    other = loader(epoch=2)
    other.load_state_dict(one.state_dict())
    assert len(list(other)) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_leaves_the_global_random_numbers_alone(workers):
    state = torch.get_rng_state()
    list(loader(workers=workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_order_lies_where_the_rows_do():
    """Or each batch would wait for its positions to be copied."""
    assert {part.device.type for part in EpochSampler(20, 6, train=True, device="meta")} == {"meta"}
