"""What the clients' programs share. It runs in their environments, so it needs nothing."""


def refused(call, *words, kind=Exception):
    """Check that ``call`` raises an error of a ``kind`` that says all of ``words``."""
    try:
        given = call()
    except kind as error:
        said = str(error)
        assert all(word in said for word in words), said
        return
    raise AssertionError(f"it was not refused: {given!r}")


def correlated(shares):
    """Check that both bits of a pair, from a dictionary of counts or probabilities, were mostly equal."""
    shares = {string.zfill(2): share for string, share in shares.items()}
    total = sum(shares.values())
    assert (shares.get("00", 0) + shares.get("11", 0)) / total > 0.7, shares
    assert min(shares.get("00", 0), shares.get("11", 0)) / total > 0.2, shares


def mostly(shares, string, share=0.7):
    """Check that ``string`` came in at least that share."""
    assert shares.get(string, 0) / sum(shares.values()) > share, shares
