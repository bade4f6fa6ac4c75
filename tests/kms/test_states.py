from itertools import chain

from tiandi.kms.states import FIRST, LIFE, LIVING, MEANING, State

ENDS = {State.SPENT, State.RELAYED, State.DELIVERED, State.VOIDED, State.EXPIRED}


def test_every_state_is_explained_once() -> None:
    assert set(MEANING) == set(State)


def test_the_last_five_are_ends_which_nothing_leaves() -> None:
    assert list(State)[-5:] == [State.SPENT, State.RELAYED, State.DELIVERED, State.VOIDED, State.EXPIRED]
    assert set(State) == LIVING | ENDS
    assert not LIVING & ENDS


def test_every_state_can_be_reached_from_where_key_enters_and_leads_to_an_end() -> None:
    for kind, life in LIFE.items():
        reached, open_states = set(FIRST[kind]), list(FIRST[kind])
        while open_states:
            new = set(life.get(open_states.pop(), ())) - reached
            reached |= new
            open_states += new
        assert reached >= set(life)
        assert reached & ENDS
    assert set(chain.from_iterable(LIFE["link"].values())) <= set(State) - {State.DELIVERED, State.READY}


def test_key_that_was_delivered_or_spent_has_no_way_back() -> None:
    for life in LIFE.values():
        assert not set(life) & ENDS


def test_what_was_asked_about_in_vain_is_never_handed_out_before_it_is_ready() -> None:
    assert State.DELIVERED not in LIFE["supply"][State.UNCERTAIN]
    assert State.DELIVERED not in LIFE["supply"][State.RESERVED]
