"""A verdict on boson samplers as one HTML page that asks nothing of any other place, in the look of the studies."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING

from tiandi.computing.photonics.validation.figure import draw_correlations, draw_totals, drawn_scores
from tiandi.computing.photonics.validation.ranking import CERTAIN, CRITERIA, shown
from tiandi.planning.drawing import THEME, drawn, svg_of
from tiandi.planning.report import STYLE

if TYPE_CHECKING:
    from tiandi.computing.photonics.validation import Score, Verdict

SCATTER = (
    "Measured over ideal cumulants; the line is where both are equal. What lies about it is the sampler's error and sampling noise, which"
    " with 100,000 samples is most of it for three modes; from the relative errors below it is taken off."
)
HOW = (
    "Every figure is held against the exact ideal state of the machine as calibrated. Errors of samples are jackknife errors over 20"
    " blocks. Those of the experiment are sampling errors only, since what its calibration does not know was not published; of its"
    " correlations, a bootstrap of binomial noise, made as much wider as moments of the same shots scatter together in positive-P samples.",
    "From relative errors and residuals the sampling noise is taken off; raw value and noise stand below. A distance has noise in it: the"
    " true one lies between the value less the noise alone and the value; ranked is the root of the difference of their squares.",
    f"A departure is named where it is more than {CERTAIN:g} standard errors. Ranking: each two are compared on each ranked figure"
    " (marked *) that both have; the closer wins, and within two standard errors both win half.",
    "The approximate samplers are made from the very state that they are judged by. The experiment is not: its departures are also those"
    " of its calibration.",
)


def html_report(verdict: Verdict) -> str:
    """The whole page."""
    title = f"{verdict.machine}: samples against the ideal"
    sections = (_ranking(verdict), _failures(verdict), _pictures(verdict), _figures(verdict), _odds(verdict))
    listed = "".join(f"<li>{escape(text)}</li>" for text in HOW)
    machine, ideal = verdict.ideal.machine, verdict.ideal.totals
    source = "" if ideal is None else f" Distribution of the total: {escape(ideal.source)}."
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="aside">{machine.modes} modes, {escape(machine.detectors.kind)} detectors; seed {verdict.seed};'
        f" tiandi {version('tiandi')}. All figures but the experiment's come out of a model.</p>"
        f'{"".join(sections)}<h2>How it is judged</h2><ul class="aside">{listed}</ul><p class="aside">{source}</p></main></body></html>\n'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        first, *others = (escape(cell).replace("\n", "<br>") for cell in cells)
        return f"<tr><{tag}>{first}</{tag}>" + "".join(f'<{tag} class="number">{cell}</{tag}>' for cell in others) + "</tr>"

    return f'<div class="table"><table>{line(head, "th")}{"".join(line(row, "td") for row in rows)}</table></div>'


def _ranking(verdict: Verdict) -> str:
    scores = {score.name: score for score in verdict.scores}
    rows = [
        (place.name, str(place.place), f"{100 * place.won:.0f} %", f"{scores[place.name].samples:,}", str(len(place.first_in)))
        for place in verdict.ranking
    ]
    return "<h2>Closest to the ideal</h2>" + _table(("", "place", "comparisons won", "samples", "figures nobody is closer in"), rows)


def _failures(verdict: Verdict) -> str:
    scores = {score.name: score for score in verdict.scores}
    parts = []
    for place in verdict.ranking:
        told = "".join(f"<li>{escape(text)}</li>" for text in scores[place.name].failures)
        words = f"<ul>{told}</ul>" if told else "<p>No figure tells it from the ideal.</p>"
        title = f"{escape(place.name)}: {scores[place.name].samples:,} samples"
        parts.append(f"<details{' open' * (place.place == 1)}><summary>{title}</summary>{words}</details>")
    return f"<h2>Where each fails</h2>{''.join(parts)}"


def _pictures(verdict: Verdict) -> str:
    with drawn("totals", 7.6, 3.2) as figure:
        draw_totals(figure.add_subplot(), verdict)
        totals = svg_of(figure)
    columns = len(drawn_scores(verdict))
    correlations = ""
    if columns:
        with drawn("correlations", max(1.6 * columns, 4.0), 4.2) as figure:
            draw_correlations(figure, verdict)
            correlations = _picture("Correlations", svg_of(figure), SCATTER)
    caption = "Distribution of the total; the band is the ideal one with its own standard error."
    return _picture("Totals", totals, caption) + correlations


def _picture(title: str, svg: str, caption: str) -> str:
    for colour, variable in THEME.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return f"<h2>{title}</h2><figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _figures(verdict: Verdict) -> str:
    scores = _in_order(verdict)
    rows = []
    for criterion in CRITERIA:
        if any(criterion.key in score.figures for score in scores):
            rows.append((criterion.title + " *" * criterion.ranked, *(_cell(score, criterion.key) for score in scores)))
    return "<h2>All figures</h2>" + _table(("", *(score.name for score in scores)), rows)


def _cell(score: Score, key: str) -> str:
    estimate = score.figures.get(key)
    if estimate is None:
        return "–"
    text = shown(estimate)
    if estimate.raw is not None and estimate.noise is not None:
        return f"{text}\nraw {estimate.raw:.3g}, noise {estimate.noise:.3g}"
    if estimate.in_quadrature:
        return f"{text}\nnoise alone {estimate.ideal:.4g}"
    return text if estimate.ideal in {None, 0.0, 1.0} else f"{text}\nideal {estimate.ideal:.4g}"


def _odds(verdict: Verdict) -> str:
    scores = [score for score in _in_order(verdict) if score.odds]
    if not scores:
        return ""
    rows = [
        (
            odds.mock_up,
            *(
                "; ".join("–" if found is None else shown(found) for found in (own.small_sets, own.wide, own.whole))
                for own in (score.odds[number] for score in scores)
            ),
        )
        for number, odds in enumerate(scores[0].odds)
    ]
    wide = scores[0].odds[0]
    text = (
        "Mean over the samples of ln p(ideal) / p(mock-up), in nats: above 0 they speak for the ideal machine. First on sets of at most 12"
        f" modes, all samples; then on {wide.wide_modes} modes together, the first {wide.wide_samples} samples; then, where light is weak,"
        f" on all modes, those of these samples that have at most {wide.whole_clicks} clicks."
    )
    return f"<h2>Ideal machine or mock-up?</h2><p>{text}</p>" + _table(("mock-up", *(score.name for score in scores)), rows)


def _in_order(verdict: Verdict) -> list[Score]:
    places = {place.name: number for number, place in enumerate(verdict.ranking)}
    return sorted(verdict.scores, key=lambda score: places[score.name])
