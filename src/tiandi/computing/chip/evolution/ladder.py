"""One step of a ladder of three or four levels for `LANES` entries side by side: exp(-i G) of a tridiagonal Hermitian G.

With A = G - trace / L the powers A^k, k >= L, are sums of lower ones (Cayley and Hamilton), so that the Taylor series is one of L numbers
instead of matrices: exp(-i A) = c0 + c1 A + ... + c(L-1) A^(L-1). All is written out for one lane, which the compiler turns into vectors
over the lanes. A larger A is halved until the series holds, and the result squared as often.
"""

from __future__ import annotations

import math

from tiandi.computing.chip.evolution.batches import LANES, fused_kernel

LARGEST_NORM = 1.5
"""Of A; there the series is exact to 3e-11."""
_POWERS = 16
_SIGNED = [(-1) ** ((power + 1) // 2) / math.factorial(power) for power in range(_POWERS + 1)]
_FROM_THREE = tuple(zip(_SIGNED[3::2], _SIGNED[4::2], strict=True))
_FROM_FOUR = tuple(zip(_SIGNED[4::2], [*_SIGNED[5::2], 0.0], strict=True))
"""(-i)^k / k! of two powers at a time: real of even powers, imaginary of odd ones."""
# Rows of `LANES` numbers in the flat table that a block of a batch works on.
DIAGONAL = 0
"""G's: L rows."""
COUPLING = 4 * LANES
"""G's <n+1| G |n>: L - 1 times a row of real parts and one of imaginary parts."""
PHASE = 10 * LANES
"""Sum of the traces / L so far: the common phase that the matrices leave out."""
STEP = 12 * LANES
"""exp(-i A): L^2 times two rows, by rows of the matrix."""
STATE = 44 * LANES
"""The unitary so far: as ``STEP``."""
SPARE = 76 * LANES
"""As ``STATE``, to work on."""
RHO = 108 * LANES
"""A density matrix: L^2 rows in the order of `hermitian`."""
DECAY = 124 * LANES
"""Rows of the maps of <n| rho |n + k> for k = 0 to L - 1, each by rows of its matrix."""
TABLE = 154 * LANES


@fused_kernel
def get(table, begin, element, lane):  # type: ignore[no-untyped-def]
    """Complex element number ``element`` of the matrix that begins at ``begin``."""
    return complex(table[begin + 2 * element * LANES + lane], table[begin + (2 * element + 1) * LANES + lane])


@fused_kernel
def put(table, begin, element, lane, value):  # type: ignore[no-untyped-def]
    """Set what `get` gets."""
    table[begin + 2 * element * LANES + lane] = value.real
    table[begin + (2 * element + 1) * LANES + lane] = value.imag


@fused_kernel
def _square(number):  # type: ignore[no-untyped-def]
    return number.real * number.real + number.imag * number.imag


@fused_kernel
def exponential_three(table, shrink):  # type: ignore[no-untyped-def]
    """``STEP`` of three levels from G times ``shrink``."""
    for lane in range(LANES):
        a, b, c = table[lane] * shrink, table[LANES + lane] * shrink, table[2 * LANES + lane] * shrink
        mean = (a + b + c) / 3.0
        table[PHASE + lane] += mean / shrink
        a, b, c = a - mean, b - mean, c - mean
        u, v = get(table, COUPLING, 0, lane) * shrink, get(table, COUPLING, 1, lane) * shrink
        uu, vv = _square(u), _square(v)
        # A^3 = p A + q; x + y A + z A^2 is the power of A that the series has come to.
        p, q = 0.5 * (a * a + b * b + c * c) + uu + vv, a * b * c - a * vv - c * uu
        x, y, z = 0.0, 0.0, 1.0
        e0, e1, e2 = 1.0, 0.0, -0.5
        o0, o1, o2 = 0.0, -1.0, 0.0
        for odd, even in _FROM_THREE:
            x, y, z = q * z, x + p * z, y
            o0, o1, o2 = o0 + odd * x, o1 + odd * y, o2 + odd * z
            x, y, z = q * z, x + p * z, y
            e0, e1, e2 = e0 + even * x, e1 + even * y, e2 + even * z
        c0, c1, c2 = complex(e0, o0), complex(e1, o1), complex(e2, o2)
        us, vs, w = u * (a + b), v * (b + c), u * v
        put(table, STEP, 0, lane, c0 + c1 * a + c2 * (a * a + uu))
        put(table, STEP, 1, lane, c1 * u.conjugate() + c2 * us.conjugate())
        put(table, STEP, 2, lane, c2 * w.conjugate())
        put(table, STEP, 3, lane, c1 * u + c2 * us)
        put(table, STEP, 4, lane, c0 + c1 * b + c2 * (b * b + uu + vv))
        put(table, STEP, 5, lane, c1 * v.conjugate() + c2 * vs.conjugate())
        put(table, STEP, 6, lane, c2 * w)
        put(table, STEP, 7, lane, c1 * v + c2 * vs)
        put(table, STEP, 8, lane, c0 + c1 * c + c2 * (c * c + vv))


@fused_kernel
def exponential_four(table, shrink):  # type: ignore[no-untyped-def]
    """``STEP`` of four levels from G times ``shrink``."""
    for lane in range(LANES):
        a, b = table[lane] * shrink, table[LANES + lane] * shrink
        c, d = table[2 * LANES + lane] * shrink, table[3 * LANES + lane] * shrink
        mean = (a + b + c + d) * 0.25
        table[PHASE + lane] += mean / shrink
        a, b, c, d = a - mean, b - mean, c - mean, d - mean
        u, v, w = get(table, COUPLING, 0, lane) * shrink, get(table, COUPLING, 1, lane) * shrink, get(table, COUPLING, 2, lane) * shrink
        uu, vv, ww = _square(u), _square(v), _square(w)
        # A^2: diagonal, first and second below it.
        a2, b2, c2, d2 = a * a + uu, b * b + uu + vv, c * c + vv + ww, d * d + ww
        u2, v2, w2, uv, vw = u * (a + b), v * (b + c), w * (c + d), u * v, v * w
        # A^3.
        a3 = a * a2 + (u.conjugate() * u2).real
        b3 = (u * u2.conjugate()).real + b * b2 + (v.conjugate() * v2).real
        c3 = (v * v2.conjugate()).real + c * c2 + (w.conjugate() * w2).real
        d3 = (w * w2.conjugate()).real + d * d2
        u3, v3, w3 = u * a2 + b * u2 + v.conjugate() * uv, v * b2 + c * v2 + w.conjugate() * vw, w * c2 + d * w2
        uv3, vw3, uvw = c * uv + v * u2, d * vw + w * v2, w * uv
        # A^4 = p A^2 + q A + r by Newton's identities; x + y A + z A^2 + t A^3 is the power that the series has come to.
        trace2, trace3 = a2 + b2 + c2 + d2, a3 + b3 + c3 + d3
        trace4 = a2 * a2 + b2 * b2 + c2 * c2 + d2 * d2 + 2.0 * (_square(u2) + _square(v2) + _square(w2) + _square(uv) + _square(vw))
        p, q, r = 0.5 * trace2, trace3 / 3.0, 0.25 * trace4 - 0.125 * trace2 * trace2
        x, y, z, t = 0.0, 0.0, 0.0, 1.0
        e0, e1, e2, e3 = 1.0, 0.0, -0.5, 0.0
        o0, o1, o2, o3 = 0.0, -1.0, 0.0, 1.0 / 6.0
        for even, odd in _FROM_FOUR:
            x, y, z, t = r * t, x + q * t, y + p * t, z
            e0, e1, e2, e3 = e0 + even * x, e1 + even * y, e2 + even * z, e3 + even * t
            x, y, z, t = r * t, x + q * t, y + p * t, z
            o0, o1, o2, o3 = o0 + odd * x, o1 + odd * y, o2 + odd * z, o3 + odd * t
        k0, k1, k2, k3 = complex(e0, o0), complex(e1, o1), complex(e2, o2), complex(e3, o3)
        put(table, STEP, 0, lane, k0 + k1 * a + k2 * a2 + k3 * a3)
        put(table, STEP, 5, lane, k0 + k1 * b + k2 * b2 + k3 * b3)
        put(table, STEP, 10, lane, k0 + k1 * c + k2 * c2 + k3 * c3)
        put(table, STEP, 15, lane, k0 + k1 * d + k2 * d2 + k3 * d3)
        _put_both(table, 4, 1, lane, k1, u, k2, u2, k3, u3)
        _put_both(table, 9, 6, lane, k1, v, k2, v2, k3, v3)
        _put_both(table, 14, 11, lane, k1, w, k2, w2, k3, w3)
        _put_both(table, 8, 2, lane, 0.0j, uv, k2, uv, k3, uv3)
        _put_both(table, 13, 7, lane, 0.0j, vw, k2, vw, k3, vw3)
        _put_both(table, 12, 3, lane, 0.0j, uvw, 0.0j, uvw, k3, uvw)


@fused_kernel
def _put_both(table, below, above, lane, k1, first, k2, second, k3, third):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """An element below the diagonal and its mirror image: ``first`` to ``third`` are those of A, A^2 and A^3 below."""
    put(table, STEP, below, lane, k1 * first + k2 * second + k3 * third)
    put(table, STEP, above, lane, k1 * first.conjugate() + k2 * second.conjugate() + k3 * third.conjugate())
