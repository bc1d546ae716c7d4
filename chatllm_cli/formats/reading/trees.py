"""Messages of foreign programs that form a tree, or what a damaged file has made of one."""

from collections.abc import Mapping, Sequence


def downwards(parents: Mapping[str, str | None], children: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return each node once: parents before children, branch after branch, siblings as `children` has them.

    Siblings that it does not list follow as they stand in `parents`. A parent that is no node is none; where nodes
    form a circle, one of them is the beginning.
    """
    below: dict[str | None, dict[str, None]] = {
        node: dict.fromkeys(child for child in listed if parents.get(child) == node)
        for node, listed in (children or {}).items()
    }
    for node, parent in parents.items():
        below.setdefault(parent if parent in parents else None, {})[node] = None
    found: dict[str, None] = {}
    for begin in (*below.get(None, ()), *parents):
        waiting = [] if begin in found else [_top(begin, parents)]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = None
                waiting.extend(reversed(below.get(node, {})))
    return list(found)


def _top(node: str, parents: Mapping[str, str | None]) -> str:
    """Return the node that all hangs on that this one hangs on; in a circle, the one that is met again first."""
    met: set[str] = set()
    while node not in met and (above := parents[node]) in parents:
        met.add(node)
        node = above or ""
    return node
