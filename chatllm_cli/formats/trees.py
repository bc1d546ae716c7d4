"""Messages of foreign programs that form a tree, or what a damaged file has made of one."""

from collections.abc import Mapping, Sequence


def downwards(parents: Mapping[str, str | None], children: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return each node once: parents before children, branch after branch, siblings as `children` has them.

    Siblings that it does not list follow as they stand in `parents`. A parent that is no node is none; where nodes
    form a circle, the first of them is the beginning.
    """
    below: dict[str | None, dict[str, None]] = {
        node: dict.fromkeys(child for child in listed if parents.get(child) == node)
        for node, listed in (children or {}).items()
    }
    for node, parent in parents.items():
        below.setdefault(parent if parent in parents else None, {})[node] = None
    found: dict[str, None] = {}
    for begin in (*below.get(None, ()), *parents):
        waiting = [begin]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = None
                waiting.extend(reversed(below.get(node, {})))
    return list(found)
