from random import Random

import pytest

from chatllm_cli.formats.reading.trees import downwards


@pytest.mark.parametrize(
    ("parents", "children", "order"),
    [
        ({}, {}, ""),
        ({"a": None, "b": "a", "c": "b"}, {}, "abc"),
        ({"c": "b", "b": "a", "a": None}, {}, "abc"),
        ({"a": None, "b": "a", "c": "a", "d": "b"}, {}, "abdc"),
        ({"a": None, "b": "a", "c": "a", "d": "b"}, {"a": ["c", "b"]}, "acbd"),
        ({"a": None, "b": "a", "c": "a"}, {"a": ["c", "c", "x", "a"]}, "acb"),
        ({"a": None, "b": None, "c": "b"}, {"a": ["c"]}, "abc"),  # a parent's word does not make it one
        ({"a": "x", "b": "a"}, {}, "ab"),
        ({"a": "b", "b": "c", "c": "a", "d": "a"}, {}, "acbd"),
        ({"d": "a", "a": "b", "b": "a"}, {}, "adb"),
        ({"a": "a"}, {"a": ["a"]}, "a"),
    ],
)
def test_parents_come_before_children_and_siblings_in_their_order(
    parents: dict[str, str | None], children: dict[str, list[str]], order: str
) -> None:
    assert "".join(downwards(parents, children)) == order


@pytest.mark.parametrize("seed", range(50))
def test_each_node_comes_once_whatever_hangs_on_what(seed: int) -> None:
    random = Random(seed)  # noqa: S311  (it keeps no secrets)
    nodes = [str(number) for number in range(random.randint(1, 12))]
    parents = {node: random.choice([None, "lost", *nodes]) for node in nodes}
    children = {node: random.choices(nodes, k=3) for node in random.choices(nodes, k=3)}
    order = downwards(parents, children)
    assert sorted(order) == sorted(nodes)
    upside_down = [node for node in order if parents[node] in order[order.index(node) + 1 :]]
    assert all(_is_in_a_circle(node, parents) for node in upside_down)


def _is_in_a_circle(node: str, parents: dict[str, str | None]) -> bool:
    above, seen = parents.get(node), set[str]()
    while above is not None and above not in seen and above != node:
        seen.add(above)
        above = parents.get(above)
    return above == node
