"""The map of a study: nodes, links by how full they are, and satellites' ground tracks, over the world's coast lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from tiandi.clock import julian_date
from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.topology import Node
from tiandi.physics.orbit import Elements, propagate
from tiandi.planning.drawing import (
    FAINT,
    GREEN,
    GRID,
    INK,
    LAND,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SEQUENCE,
    Chart,
    drawn,
    shown_name,
    svg_of,
)
from tiandi.planning.outline import coast_lines
from tiandi.planning.results import StudyResult

FloatArray = NDArray[np.float64]

WIDTH_INCH = 7.2
MOST_LABELS = 30
MOST_SATELLITES = 8
MOST_ARCS = 80
TRACK_STEP_S = 60.0
FULL = 0.95
GREAT_CIRCLE_KM = 500.0
MARKERS = {
    "trusted node": ("o", PAPER, 4.0),
    "user node": ("s", PAPER, 3.6),
    "ground station": ("^", ORANGE, 6.0),
    "gateway": ("D", PURPLE, 4.2),
}
LINK_COLOURS = {"less than half used": SEQUENCE[2], "half used": SEQUENCE[4], "full": RED, "made no key": FAINT}


def ground_track(elements: Elements, start_julian_date: float, times_s: FloatArray) -> FloatArray:
    """Longitude and latitude [deg] beneath a satellite at ``times_s`` after ``start_julian_date``, shape (n, 2).

    The latitude is geocentric, which differs from that of maps by 0.2 degrees at most. Raises ElementsError where SGP4 gives up.
    """
    x, y, z = propagate(elements, start_julian_date + times_s / SECONDS_PER_DAY).T
    return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))


def great_circle(one: tuple[float, float], other: tuple[float, float], points: int = 33) -> FloatArray:
    """Longitude and latitude [deg] of the shortest way over the ground between two places, shape (``points``, 2)."""
    ends = np.radians(np.array([one, other]))
    vectors = np.stack([np.cos(ends[:, 1]) * np.cos(ends[:, 0]), np.cos(ends[:, 1]) * np.sin(ends[:, 0]), np.sin(ends[:, 1])], axis=1)
    angle = np.arccos(np.clip(vectors[0] @ vectors[1], -1.0, 1.0))
    part = np.linspace(0.0, 1.0, points)[:, None]
    if angle < 1e-9:
        return np.repeat([one], points, axis=0).astype(float)
    x, y, z = ((np.sin((1 - part) * angle) * vectors[0] + np.sin(part * angle) * vectors[1]) / np.sin(angle)).T
    return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))


class _View:
    """The part of the world that is shown: around a longitude, so that no network is cut by the edge of the map."""

    def __init__(self, places: FloatArray) -> None:
        turned = np.radians(places[:, 0])
        self.centre_deg = float(np.degrees(np.arctan2(np.sin(turned).sum(), np.cos(turned).sum()))) if len(places) else 0.0
        x = self.turn(places)[:, 0] if len(places) else np.array([-170.0, 170.0])
        y = places[:, 1] if len(places) else np.array([-60.0, 75.0])
        margin = max(2.5, 0.12 * np.ptp(x), 0.12 * np.ptp(y))
        low, high = max(y.min() - margin, -89.0), min(y.max() + margin, 89.0)
        self.aspect = 1.0 / max(np.cos(np.radians((low + high) / 2)), 0.4)
        # No narrower than 5 : 3 and no flatter than 2.4 : 1, whatever the network's shape.
        half = max((x.max() - x.min()) / 2 + margin, (high - low) * self.aspect * 5 / 6)
        rise = max(high - low, 2 * half / self.aspect / 2.4) / 2
        middle, centre = np.clip((low + high) / 2, -89.0 + rise, 89.0 - rise) if rise < 89.0 else 0.0, (x.min() + x.max()) / 2
        half, rise = min(half, 180.0), min(rise, 89.0)
        self.box = Bbox.from_extents(centre - half, middle - rise, centre + half, middle + rise)

    def turn(self, places: FloatArray) -> FloatArray:
        """Places [deg] with longitudes within half a turn of the centre."""
        turned = np.array(places, float)
        turned[:, 0] = self.centre_deg + (turned[:, 0] - self.centre_deg + 180.0) % 360.0 - 180.0
        return turned

    def pieces(self, line: FloatArray) -> Iterator[FloatArray]:
        """A line in pieces that do not run across the edge of the map, as far as they are seen."""
        turned = self.turn(line)
        for piece in np.split(turned, np.flatnonzero(np.abs(np.diff(turned[:, 0])) > 180.0) + 1):
            inside = (np.abs(piece - [self.box.x0 + self.box.width / 2, self.box.y0 + self.box.height / 2]) * 2 / self.box.size < 1.1).all(
                1
            )
            seen = inside | np.append(inside[1:], False) | np.insert(inside[:-1], 0, False)
            for part in np.split(np.arange(len(piece)), np.flatnonzero(np.diff(seen)) + 1):
                if seen[part[0]] and len(part) > 1:
                    yield piece[part]


def network_map(result: StudyResult) -> Chart:
    """Map of nodes, links and ground tracks; its table lists every node and link."""
    nodes = {name: node for name, node in result.inputs.topology.nodes.items() if node.latitude_deg is not None}
    view = _View(np.array([_place(node) for node in nodes.values()]).reshape(-1, 2))
    height_inch = WIDTH_INCH * view.box.height * view.aspect / view.box.width + 0.55
    with drawn("map", WIDTH_INCH, height_inch) as figure:
        axes = figure.add_subplot()
        axes.set(xlim=(view.box.x0, view.box.x1), ylim=(view.box.y0, view.box.y1), aspect=view.aspect)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.xaxis.set_major_formatter(lambda x, _: _degrees(((x + 180.0) % 360.0) - 180.0, "E", "W"))
        axes.yaxis.set_major_formatter(lambda y, _: _degrees(y, "N", "S"))
        axes.tick_params(length=0, labelcolor=FAINT, labelsize=7)
        _draw_land(axes, view)
        _draw_tracks(axes, view, result)
        shares = _draw_links(axes, view, result, nodes)
        places = {name: view.turn(np.array([_place(node)]))[0] for name, node in nodes.items()}
        for name, node in nodes.items():
            marker, fill, size = MARKERS[node.kind] if node.kind in MARKERS else MARKERS["trusted node"]
            axes.plot(*places[name], marker, color=fill, markeredgecolor=INK, markeredgewidth=0.7, markersize=size, zorder=4)
        _label(axes, view, places, _by_weight(result, nodes))
        _legend(axes, result, nodes, shares)
        svg = svg_of(figure)
    caption = "Nodes and links of the network; a link's colour is the share of its key that was used, mean over all seeds." + (
        " Thin lines are ground tracks of two revolutions; bold ones those of planned contacts of the first seven days."
        * bool(result.satellites)
    )
    return Chart("map", "The network", caption, svg, *_table(result))


def _place(node: Node) -> tuple[float, float]:
    return node.longitude_deg or 0.0, node.latitude_deg or 0.0


def _degrees(value_deg: float, positive: str, negative: str) -> str:
    return f"{abs(value_deg):g}°{positive if value_deg > 0 else negative if value_deg < 0 else ''}"


def _draw_land(axes: Axes, view: _View) -> None:
    """Land as one shape, so that lakes stay open, with no more points than the eye can tell apart."""
    step_deg = view.box.width / 900.0
    parts = []
    for ring in map(_closed, coast_lines()):
        for turn_deg in (-360.0, 0.0, 360.0):
            shifted = np.add(ring, [turn_deg, 0.0])
            if not Bbox.from_extents(*shifted.min(0), *shifted.max(0)).overlaps(view.box):
                continue
            for clipped in Path(shifted, closed=True).clip_to_bbox(view.box.padded(1.0), inside=True).to_polygons():
                part = np.asarray(clipped, float)
                kept = part[np.append(True, (np.diff(np.round(part / step_deg), axis=0) != 0).any(axis=1))]
                if len(kept) > 3:
                    parts.append(Path(kept, closed=True))
    if parts:
        axes.add_patch(PathPatch(Path.make_compound_path(*parts), facecolor=LAND, edgecolor=GRID, linewidth=0.5, zorder=0.5))


def _closed(line: FloatArray) -> FloatArray:
    """A coast as a ring; the one that runs all around the world, along the side where the land is, over the south pole."""
    around = abs(line[0, 0] - line[-1, 0]) > 180.0
    corners = [[line[-1, 0], -90.0], [line[0, 0], -90.0]] if around else []
    return np.concatenate([line, *([corners] if around else []), line[:1]])


def _draw_tracks(axes: Axes, view: _View, result: StudyResult) -> None:
    start = julian_date(result.start)
    for satellite in result.inputs.satellites[:MOST_SATELLITES]:
        step_s = max(TRACK_STEP_S, satellite.elements.period_s / 240)
        for piece in view.pieces(ground_track(satellite.elements, start, np.arange(0.0, 2 * satellite.elements.period_s, step_s))):
            axes.plot(*piece.T, color=GREEN, linewidth=0.4, zorder=1.5)
    early = result.contacts[result.contacts["start_s"] < 7 * SECONDS_PER_DAY][:MOST_ARCS]
    for contact in early:
        elements = result.inputs.satellites[int(contact["satellite"])].elements
        times_s = np.linspace(contact["start_s"], contact["end_s"], 9)
        for piece in view.pieces(ground_track(elements, start, times_s)):
            axes.plot(*piece.T, color=GREEN, linewidth=1.2, alpha=0.8, zorder=1.6)


def _draw_links(axes: Axes, view: _View, result: StudyResult, nodes: dict[str, Node]) -> set[str]:
    """Draw what lies on the ground; returns which classes of use there are."""
    found = set()
    use = dict(zip(result.links, _used_share(result), strict=True))
    for link in result.inputs.topology.links.values():
        if not all(end in nodes for end in link.ends):
            continue
        share = use.get(link.name, np.nan)
        names = list(LINK_COLOURS)
        name = names[3] if np.isnan(share) else names[2] if share >= FULL else names[1] if share >= 0.5 else names[0]
        found.add(name)
        one, other = (_place(nodes[end]) for end in link.ends)
        line = great_circle(one, other) if link.length_km > GREAT_CIRCLE_KM else np.array([one, other])
        for piece in view.pieces(line):
            axes.plot(*piece.T, color=LINK_COLOURS[name], linewidth=1.3, linestyle=":" if link.kind == "gateway" else "-", zorder=2)
    return found


def _used_share(result: StudyResult) -> FloatArray:
    made, used = result.made_bit.mean(axis=0), result.used_bit.mean(axis=0)
    return np.divide(used, made, out=np.full(made.shape, np.nan), where=made > 0)


def _by_weight(result: StudyResult, nodes: dict[str, Node]) -> list[str]:
    """Nodes, those first that a reader looks for: ends of demands by what they want, then stations, then by the number of links."""
    weight = dict.fromkeys(nodes, 0.0)
    for demand in result.inputs.demands:
        for end in demand.ends:
            if end in weight:
                weight[end] += 1e6 + demand.rate_bps
    for link in result.inputs.topology.links.values():
        for end in link.ends:
            if end in weight:
                weight[end] += 1.0 + 1e3 * (nodes[end].kind == "ground station")
    return sorted(weight, key=lambda name: (-weight[name], name))


def _label(axes: Axes, view: _View, places: dict[str, FloatArray], names: Sequence[str]) -> None:
    """Names beside their nodes, those first that matter most, where they cover neither each other nor a node."""
    point_deg = view.box.width / (WIDTH_INCH * 72 * 0.93)
    size = np.array([point_deg, point_deg / view.aspect])
    taken = [Bbox.from_extents(*(place - 3 * size), *(place + 3 * size)) for place in places.values()]
    written = 0
    for name in names:
        text, (x, y) = shown_name(name, 24), places[name]
        width, height = (4.4 * len(text) + 2) * size[0], 8.5 * size[1]
        for side, dx, dy in (("left", 5, 0), ("right", -5, 0), ("center", 0, 8), ("center", 0, -8)):
            left = x + dx * size[0] - {"left": 0.0, "right": width, "center": width / 2}[side]
            box = Bbox.from_extents(left, y + dy * size[1] - height / 2, left + width, y + dy * size[1] + height / 2)
            if view.box.x0 < box.x0 and box.x1 < view.box.x1 and not box.count_overlaps(taken):
                axes.annotate(
                    text, (x, y), (dx, dy), textcoords="offset points", ha=side, va="center", fontsize=7.2, zorder=5,
                )  # fmt: skip
                taken.append(box)
                written += 1
                break
        if written == MOST_LABELS:
            break


def _legend(axes: Axes, result: StudyResult, nodes: dict[str, Node], shares: set[str]) -> None:
    handles = [
        Line2D([], [], marker=marker, color="none", markerfacecolor=fill, markeredgecolor=INK, markersize=size, label=kind)
        for kind, (marker, fill, size) in MARKERS.items()
        if any(node.kind == kind for node in nodes.values())
    ]
    handles += [Line2D([], [], color=colour, label=f"link {name}") for name, colour in LINK_COLOURS.items() if name in shares]
    handles += [Line2D([], [], color=GREEN, linewidth=0.7, label="ground track")] * bool(result.satellites)
    if len(result.contacts):
        handles.append(Line2D([], [], color=GREEN, label="planned contact"))
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7.5)


def _table(result: StudyResult) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    columns = ("name", "kind", "end_1", "end_2", "latitude_deg", "longitude_deg", "made_bit", "used_bit")
    topology = result.inputs.topology
    rows: list[tuple[object, ...]] = [
        (node.name, node.kind, "", "", node.latitude_deg, node.longitude_deg, None, None) for node in topology.nodes.values()
    ]
    for name, made, used in zip(result.links, result.made_bit.mean(axis=0), result.used_bit.mean(axis=0), strict=True):
        link = topology.links[name]
        rows.append((name, link.kind, *link.ends, None, None, float(made), float(used)))
    return columns, rows
