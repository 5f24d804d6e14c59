import threading
from collections.abc import Iterator

import pytest
import torch

from treasure.tokens.pipeline import pipelined


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int):
    gates = [threading.Event() for _ in range(20)]

    def work(item: int) -> int:
        if item % 2 and threads > 1:  # waits for the one after it
            gates[(item + 1) % 20].wait(5)
        gates[item].set()
        return item * item

    assert list(pipelined(range(20), work, threads=threads)) == [i * i for i in range(20)]


def test_items_are_read_only_a_little_ahead():
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    for done, _ in enumerate(pipelined(items(), lambda item: item, threads=2), start=1):
        assert len(read) <= done + 3
    assert len(read) == 100


def test_the_first_failure_in_order_is_raised_and_nothing_goes_on():
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item >= 3:
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="item 3"):
        list(pipelined(range(1000), work, threads=2))
    assert len(begun) < 20


def test_threads_that_work_have_one_thread_of_torch_each():
    before = torch.get_num_threads()
    assert set(pipelined(range(6), lambda _: torch.get_num_threads(), threads=2)) == {1}
    assert torch.get_num_threads() == before
