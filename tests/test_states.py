"""The law, by an exhaustive table that is kept by hand beside it."""

from pathlib import Path

import pytest

from voiceagent.states import DEADLINES, TABLE, Leaf, Position, Refused, Rulebook, Trigger, diagram, rulebook

GOLDEN = Path(__file__).parent / "golden" / "matrix.txt"
LEAVES = list(Leaf)


def _golden() -> dict[tuple[Leaf, Trigger], str]:
    """The table as a person wrote it: one row a trigger, one column a leaf; - is refused, = stays."""
    rows = [line.split() for line in GOLDEN.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    short = dict(pair.split("=") for pair in rows[0][1:])
    order = [Leaf(short[name]) for name in rows[1][1:]]
    cells = {}
    for trigger, *row in rows[2:]:
        for leaf, cell in zip(order, row, strict=True):
            cells[leaf, Trigger(trigger)] = cell if cell in "-=" else short[cell]
    return cells


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("leaf", LEAVES)
def test_every_pair(leaf, trigger):
    """Every pair of leaf and trigger moves, stays, or is refused and changes nothing, as the golden table says."""
    expected = _golden()[leaf, trigger]
    position = Position(leaf.value)
    if expected == "-":
        assert not rulebook().allows(leaf, trigger)
        with pytest.raises(Refused) as refusal:
            rulebook().fire(position, trigger)
        assert (refusal.value.leaf, refusal.value.trigger) == (leaf, trigger)
        assert position.leaf is leaf
    else:
        assert rulebook().allows(leaf, trigger)
        assert rulebook().fire(position, trigger) == (leaf if expected == "=" else Leaf(expected))


def test_the_golden_table_is_complete():
    """Every trigger and every leaf is in it."""
    assert set(_golden()) == {(leaf, trigger) for leaf in Leaf for trigger in Trigger}


def test_every_leaf_can_be_left():
    """Nothing but the end is final: each leaf has a deadline whose triggers the table knows, and can be closed."""
    assert set(DEADLINES) == set(Leaf) - {Leaf.CLOSED}
    for leaf, triggers in DEADLINES.items():
        assert all(rulebook().allows(leaf, trigger) for trigger in triggers)
        assert rulebook().allows(leaf, Trigger.LEAVE)
    assert not any(leaf is Leaf.CLOSED for leaf, _, _ in TABLE)


def test_every_leaf_can_be_reached():
    """There is a way from listening to every leaf."""
    reached, edge = {Leaf.LISTENING}, [Leaf.LISTENING]
    while edge:
        here = edge.pop()
        for leaf, _, target in TABLE:
            if leaf is here and target is not None and target not in reached:
                reached.add(target)
                edge.append(target)
    assert reached == set(Leaf)


def test_two_rows_for_one_pair_fail():
    """`transitions` would silently take the first of them."""
    with pytest.raises(ValueError, match="two rows"):
        Rulebook((*TABLE, TABLE[0]))


def test_the_diagram_shows_every_move():
    """Each pair of leaves between which there is a move has an arrow."""
    text = diagram()
    assert text.startswith("stateDiagram-v2\n")
    for leaf, _, target in TABLE:
        if target is not None:
            assert f"{leaf} --> {target}:" in text
