"""The figures of a study but its map: key against time, availability, contacts, age of key, bottlenecks, what more would buy, trust."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from tiandi.control.trust import Learns, TrustMap
from tiandi.planning.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PAPER,
    RED,
    SEQUENCE,
    Chart,
    bars_across,
    bit_unit,
    drawn,
    in_bits,
    in_time,
    month_ticks,
    shown_name,
    svg_of,
)
from tiandi.planning.results import AGE_EDGES_S, MarginalValue, StudyResult

FloatArray = NDArray[np.float64]

WIDTH_INCH = 7.2
MOST_PANELS = 6
MOST_ROWS = 24
MOST_COLUMNS = 36
MOST_BARS = 12
SMOOTHED_FROM_DAYS = 120
WEEK_DAYS = 7
AGE_TICKS = {60.0: "1 min", 3600.0: "1 h", 86_400.0: "1 day", 604_800.0: "1 week", 2_592_000.0: "30 days"}
LEARNS = {
    Learns.OWN: ("end of the pair", FAINT),
    Learns.KEY: ("learns the key", RED),
    Learns.IF_BROKEN: ("only if ML-KEM or TLS is broken too", ORANGE),
    Learns.NOTHING: ("learns nothing", PAPER),
}


def shown_pairs(result: StudyResult, most: int) -> list[int]:
    """Numbers of the pairs that a figure has room for, as they were asked for: the worst served first when there are too many."""
    pairs = range(len(result.pairs))
    if len(pairs) <= most:
        return list(pairs)
    wanted = np.maximum(result.wanted_bit.sum(axis=0), 1.0)
    served = result.carried_bit.mean(axis=0).sum(axis=0) / wanted
    return sorted(pairs, key=lambda pair: (served[pair], result.pairs[pair]))[:most]


def _only(shown: Sized, total: int, what: str) -> str:
    return f" The {len(shown)} {what} of {total} are drawn; the table has all." if len(shown) < total else ""


def key_over_time(result: StudyResult) -> Chart:
    """Key per day of each pair: mean over seeds, the band from the least to the greatest, and what was wanted."""
    shown = shown_pairs(result, MOST_PANELS)
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    window = WEEK_DAYS if len(result.days) >= SMOOTHED_FROM_DAYS else 1
    periods = len(result.days) // window
    # The middle of each period; a last one that is not whole is left out.
    middle_h = (24.0 * window * (np.arange(periods) + 0.5)).astype(np.int64)
    days = np.datetime64(result.start.replace(tzinfo=None), "h") + middle_h.astype("timedelta64[h]")
    with drawn("key-over-time", WIDTH_INCH, 0.6 + 1.45 * down) as figure:
        for place, pair in enumerate(shown):
            axes = figure.add_subplot(down, across, place + 1)
            runs = result.carried_bit[:, : periods * window, pair].reshape(-1, periods, window).mean(axis=2)
            wanted = result.wanted_bit[: periods * window, pair].reshape(periods, window).mean(axis=1)
            size, unit = bit_unit(float(max(runs.max(), wanted.max())))
            axes.fill_between(days, runs.min(0) / size, runs.max(0) / size, color=BLUE, alpha=0.25, linewidth=0)
            axes.plot(days, runs.mean(0) / size, color=BLUE, linewidth=1.1, marker="o" if periods == 1 else None)
            axes.plot(days, wanted / size, color=ORANGE, linewidth=1.0, linestyle=(0, (5, 2)))
            axes.set(title=shown_name(result.pairs[pair]), ylabel=f"key [{unit}/day]", ylim=(0, None))
            locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        svg = svg_of(figure)
    seeds = len(result.seeds)
    caption = (
        f"Key carried ({'mean of each week' if window > 1 else 'day by day'}): line, mean over {seeds} seed{'s' * (seeds > 1)}"
        f"{'; band, least to greatest' * (seeds > 1)}; dashed, wanted.{_only(shown, len(result.pairs), 'pairs served worst')}"
    )
    columns = ("day", "pair", "wanted_bit", "carried_mean_bit", "carried_least_bit", "carried_greatest_bit", "key_age_mean_s")
    return Chart("key-over-time", "Key against time", caption, svg, columns, _days_table(result))


def _days_table(result: StudyResult) -> list[tuple[object, ...]]:
    mean, least, greatest = result.carried_bit.mean(0), result.carried_bit.min(0), result.carried_bit.max(0)
    had = ~np.isnan(result.key_age_s)
    age = np.divide(np.nan_to_num(result.key_age_s).sum(0), had.sum(0), out=np.full(mean.shape, np.nan), where=had.any(0))
    return [
        (f"{day:%Y-%m-%d}", pair, *(float(table[number, place]) for table in (result.wanted_bit, mean, least, greatest, age)))
        for number, day in enumerate(result.days)
        for place, pair in enumerate(result.pairs)
    ]


def availability(result: StudyResult) -> Chart:
    """Share of the days of each month on which a pair had all it wanted."""
    shown, share = shown_pairs(result, MOST_ROWS), result.availability()
    with drawn("availability", WIDTH_INCH, 0.75 + 0.24 * len(shown)) as figure:
        axes = figure.add_subplot()
        edges = np.linspace(0.0, 1.0, len(SEQUENCE) + 1)
        for row, pair in enumerate(shown):
            for column, value in enumerate(share[:, pair]):
                colour = SEQUENCE[min(int(np.searchsorted(edges, value, "right")) - 1, len(SEQUENCE) - 1)]
                axes.add_patch(_cell(column, row, colour))
                if len(result.months) <= 15:
                    ink = "#ffffff" if value >= 0.6 else "#1f2328"
                    axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=ink)
        _as_table(axes, [shown_name(result.pairs[pair]) for pair in shown], month_ticks(result.months))
        svg = svg_of(figure)
    caption = "Days on which the pair had all the key it wanted, in percent of the days of the month, over all seeds."
    rows = [
        (month, pair, float(share[i, j]), float((result.met()[:, result.month_of_day == i, j]).sum()) / len(result.seeds))
        for j, pair in enumerate(result.pairs)
        for i, month in enumerate(result.months)
    ]
    caption += _only(shown, len(result.pairs), "pairs served worst")
    return Chart("availability", "Availability per month", caption, svg, ("month", "pair", "availability", "days_met_mean"), rows)


def _cell(column: int, row: int, colour: str) -> Patch:
    return Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, facecolor=colour, edgecolor=GRID, linewidth=0.4)


def _as_table(axes: Axes, rows: list[str], columns: list[str], rotation: float = 0.0) -> None:
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    every = max(1, -(-len(columns) // 24)) if rotation == 0.0 else 1
    axes.set_xticks(range(0, len(columns), every), columns[::every], rotation=rotation, ha="right" if rotation else "center", fontsize=7.5)
    if rotation:
        axes.tick_params(axis="x", rotation=rotation)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(rows)), rows, fontsize=7.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def contacts_by_month(result: StudyResult) -> Chart | None:
    """Contacts planned in each month, and those that cloud left without key; None without stations."""
    if not result.stations or not result.contacts_planned.size:
        return None
    planned, lost = result.contacts_planned.mean(axis=0), result.contacts_lost.mean(axis=0)
    with drawn("contacts", WIDTH_INCH, 2.3) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(result.months))
        made = (planned - lost).sum(axis=1)
        axes.bar(places, made, color=BLUE, width=0.7, label="made key")
        axes.bar(places, lost.sum(axis=1), bottom=made, color=GRID, edgecolor=FAINT, linewidth=0.5, width=0.7, label="lost to cloud")
        every = max(1, -(-len(places) // 24))
        axes.set_xticks(places[::every], month_ticks(result.months)[::every])
        axes.set(ylabel="contacts per month")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        svg = svg_of(figure)
    rows = [
        (month, station, float(planned[i, j]), float(lost[i, j]))
        for i, month in enumerate(result.months)
        for j, station in enumerate(result.stations)
    ]
    share = lost.sum() / planned.sum() if planned.sum() else 0.0
    caption = f"Planned contacts of all satellites and stations, mean over seeds; {100 * share:.0f} % were lost to cloud."
    return Chart("contacts", "Contacts", caption, svg, ("month", "station", "planned_mean", "lost_to_cloud_mean"), rows)


def key_age(result: StudyResult) -> Chart:
    """Histogram of the age of key, from making to use, over all pairs."""
    bits = result.age_bit.sum(axis=1)
    totals = np.maximum(bits.sum(axis=1, keepdims=True), 1e-300)
    shares = bits / totals
    mean = shares.mean(axis=0)
    # The first bin begins at 0, which has no place on the axis, and the last one has no end.
    edges = np.append(AGE_EDGES_S, 2 * AGE_EDGES_S[-1])
    edges[0] = edges[1] / 2
    with drawn("key-age", WIDTH_INCH, 2.4) as figure:
        axes = figure.add_subplot()
        axes.bar(edges[:-1], 100 * mean, np.diff(edges), align="edge", color=BLUE, edgecolor=PAPER, linewidth=0.8)
        if len(result.seeds) > 1:
            middle = np.sqrt(edges[:-1] * edges[1:])
            spread = 100 * np.abs(np.stack([mean - shares.min(0), shares.max(0) - mean]))
            axes.errorbar(middle, 100 * mean, spread, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
        axes.set(xscale="log", xlabel="age of key when it is used", ylabel="share of key [%]", xlim=(edges[0], edges[-1]))
        axes.set_xticks(list(AGE_TICKS), list(AGE_TICKS.values()))
        axes.minorticks_off()
        axes.grid(visible=False, axis="x")
        svg = svg_of(figure)
    caption = "Latency of key from its making to its use; each bar spans twice the time of the one before, the first all up to a minute"
    caption += f" and the last all above {in_time(edges[-2])}."
    reached = np.cumsum(mean)
    for part, words in ((0.5, "Half"), (0.95, "95 %")):
        place = int(np.searchsorted(reached, part - 1e-12))
        if place < len(mean) - 1:
            caption += f" {words} of the key is younger than {in_time(edges[place + 1])}."
    if len(result.seeds) > 1:
        caption += " Lines: least to greatest over the seeds."
    rows = [
        (pair, float(low), float(high), float(bit))
        for pair, ages in zip(result.pairs, result.age_bit.mean(axis=0), strict=True)
        for low, high, bit in zip(AGE_EDGES_S, [*AGE_EDGES_S[1:], np.inf], ages, strict=True)
    ]
    return Chart("key-age", "Latency", caption, svg, ("pair", "age_from_s", "age_to_s", "used_mean_bit"), rows)


def bottlenecks(result: StudyResult) -> Chart | None:
    """Links by the share of all days and pairs on which each was what limited the key; None where nothing did."""
    days = result.bottleneck.size
    numbers, counts = np.unique(result.bottleneck[result.bottleneck >= 0], return_counts=True)
    if not len(numbers):
        return None
    order = np.lexsort((numbers, -counts))
    numbers, share = numbers[order], counts[order] / days
    used, made = result.used_bit.mean(axis=0), result.made_bit.mean(axis=0)
    top = slice(0, MOST_BARS)
    with drawn("bottlenecks", WIDTH_INCH, 0.6 + 0.24 * len(numbers[top])) as figure:
        axes = figure.add_subplot()
        texts = [f"{in_bits(made[number] / result.length_days)}/day made" for number in numbers[top]]
        bars_across(axes, [result.links[number] for number in numbers[top]], list(100 * share[top]), texts)
        axes.set_xlabel("days × pairs that it limited [%]")
        svg = svg_of(figure)
    rows = [(result.links[n], float(part), float(made[n]), float(used[n])) for n, part in zip(numbers, share, strict=True)]
    caption = "Links that limited a pair, by the share of all days and pairs." + _only(numbers[top], len(numbers), "greatest")
    return Chart("bottlenecks", "Bottlenecks", caption, svg, ("link", "share_of_days_and_pairs", "made_mean_bit", "used_mean_bit"), rows)


def named_value(value: MarginalValue) -> str:
    """What one more of it is, in words."""
    return f"{value.kind} {value.what}"


def values_of_more(result: StudyResult) -> Chart | None:
    """What one more of each thing buys, the best first; None where it was not asked."""
    values = sorted(result.values, key=lambda value: -value.gained_bit_per_day)
    if not values:
        return None
    top = values[:MOST_BARS]
    size, unit = bit_unit(max(abs(value.gained_bit_per_day) for value in top))
    with drawn("values", WIDTH_INCH, 0.6 + 0.26 * len(top)) as figure:
        axes = figure.add_subplot()
        gains = [value.gained_bit_per_day / size for value in top]
        errors = np.nan_to_num([value.error_bit_per_day / size for value in top])
        currency = result.inputs.prices.currency if result.inputs.prices else ""
        texts = [
            f"{in_bits(1e6 * value.bit_per_day_and_cost)}/day for a million {currency}" if value.bit_per_day_and_cost is not None else ""
            for value in top
        ]
        bars_across(
            axes, [named_value(value) for value in top], [gain + error for gain, error in zip(gains, errors, strict=True)], texts, "none"
        )
        axes.barh(range(len(top)), gains, color=GREEN, height=0.62)
        axes.errorbar(gains, range(len(top)), xerr=errors, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
        axes.axvline(0.0, color=FAINT, linewidth=0.6)
        axes.set_xlabel(f"key gained [{unit}/day], all pairs together")
        svg = svg_of(figure)
    rows = [(v.kind, v.what, v.gained_bit_per_day, v.error_bit_per_day, v.cost, v.bit_per_day_and_cost) for v in values]
    caption = "What one more of each buys: the study run again with it, under the same weather; lines are standard errors over the seeds."
    columns = ("kind", "what", "gained_bit_per_day", "error_bit_per_day", "cost", "bit_per_day_and_cost")
    return Chart("values", "What one more would buy", caption + _only(top, len(values), "best"), svg, columns, rows)


def trust_matrix(trust: TrustMap) -> Chart | None:
    """What who holds one node learns of each pair, and whether it can stop the pair's key; None without pairs."""
    if not trust.pairs:
        return None
    learns, denies = trust.learns, trust.denies
    rows = np.argsort(-(learns == Learns.KEY).sum(axis=1), kind="stable")[:MOST_ROWS]
    rows = np.sort(rows)
    concerned = (learns[rows] > Learns.NOTHING).sum(axis=0) + denies[rows].sum(axis=0)
    weight = 1e3 * (learns[rows] == Learns.KEY).sum(axis=0) + concerned
    columns = [int(node) for node in np.argsort(-weight, kind="stable")[:MOST_COLUMNS] if concerned[node]]
    with drawn("trust", WIDTH_INCH, 1.6 + 0.24 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.hlines(np.arange(len(rows)), -0.5, len(columns) - 0.5, color=GRID, linewidth=0.5, zorder=0.5)
        for level in (Learns.OWN, Learns.KEY, Learns.IF_BROKEN):
            # One shape for all cells of a colour keeps a table of a thousand cells small.
            places = np.argwhere(learns[rows][:, columns] == level)
            square = Path.unit_rectangle().transformed(Affine2D().scale(0.94, 0.88))
            cells = [square.transformed(Affine2D().translate(x - 0.47, y - 0.44)) for y, x in places]
            if cells:
                axes.add_patch(PathPatch(Path.make_compound_path(*cells), facecolor=LEARNS[level][1], edgecolor="none"))
        dot = {"color": PAPER, "markeredgecolor": INK, "markeredgewidth": 0.6, "markersize": 3.2, "linestyle": "none", "marker": "o"}
        y_dots, x_dots = np.nonzero((denies & (learns != Learns.OWN))[rows][:, columns])
        axes.plot(x_dots, y_dots, **dot)  # type: ignore[arg-type]
        pairs = [shown_name(" - ".join(trust.pairs[row].pair)) for row in rows]
        _as_table(axes, pairs, [shown_name(trust.nodes[node], 24) for node in columns], rotation=55.0)
        handles: list[object] = [Patch(facecolor=colour, edgecolor=GRID, label=text) for text, colour in LEARNS.values()]
        handles += axes.plot([], [], label="alone can stop the key", **dot)  # type: ignore[arg-type]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, handlelength=1.0)
        svg = svg_of(figure)
    table = [
        (" - ".join(pair.pair), node, Learns(learns[i, j]).name.lower().replace("_", " "), bool(denies[i, j]), pair.title)
        for i, pair in enumerate(trust.pairs)
        for j, node in enumerate(trust.nodes)
        if learns[i, j] or denies[i, j] or node in pair.on_ways
    ]
    caption = "What an attacker who holds one node learns of the keys that pass, by the ways that carried them."
    caption += _only(rows, len(trust.pairs), "most exposed pairs")
    return Chart("trust", "Map of trust", caption, svg, ("pair", "node", "learns", "can_stop", "ways"), table)
