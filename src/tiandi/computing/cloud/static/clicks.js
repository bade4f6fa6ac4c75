// What came of a photonic job: how many modes click, and how pairs of them hang together, beside the ideal and the experiment.
import { h, s } from "./dom.js";
import { say, sayEstimate, sayNumber, sayShare } from "./words.js";

const WIDE = 360;
const TOTALS_HIGH = 216;
const PAIRS_HIGH = 290;
const EDGE = { left: 50, right: 8, top: 8, bottom: 38 };
const MOST_BARS = 80;
const LISTED_PAIRS = 10;
const FEW_PAIRS = 200;
const LEAST_SHARE = 1e-4;
const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
let numbered = 0;

export function clickPictures(told) {
  const { modes, looked_at: seen, pairs } = told;
  return h("div", { class: "clicks" },
    seen.length < modes.length ? h("p", { class: "soft" }, say("looked_at", { n: sayNumber(seen.length), all: sayNumber(modes.length) })) : null,
    totalsPart(told),
    pairs === null ? null : pairsPart(told, pairs),
    h("details", {}, h("summary", { "data-key": "figures" }, say("figures")), totalsTable(told.totals), pairs === null ? null : pairsTable(pairs)));
}

// A picture with a frame, whose title and description stand for it where it is not seen.
function picture(name, high, title, description, across, up, ...marks) {
  const id = `clicks-${numbered += 1}`;
  const bottom = high - EDGE.bottom;
  return s("svg", { class: `plot ${name}`, viewBox: `0 0 ${WIDE} ${high}`, role: "img", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-about` },
    s("title", { id: `${id}-title` }, title), s("desc", { id: `${id}-about` }, description),
    up.ticks.map(([y, text]) => [s("line", { class: "grid", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y, y2: y }), s("text", { class: "up", x: EDGE.left - 5, y: y + 4 }, text)]).flat(),
    across.ticks.map(([x, text]) => [s("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 4 }), s("text", { x, y: bottom + 16 }, text)]).flat(),
    marks.flat(),
    s("line", { class: "axis", x1: EDGE.left, x2: WIDE - EDGE.right, y1: bottom, y2: bottom }),
    s("text", { class: "label", x: (EDGE.left + WIDE - EDGE.right) / 2, y: high - 5 }, across.label),
    s("text", { class: "label", transform: `translate(10 ${(EDGE.top + bottom) / 2}) rotate(-90)` }, up.label));
}

// Where values from low to high lie between two places of the picture, and the round ones of them.
function scale(low, high, from, to, label, write, most = 6) {
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((times) => times * power >= raw) * power;
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) ticks.push([at(n * step), write(n * step, step)]);
  return { at, ticks, label };
}
const plain = (value, step) => value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "−");
const place = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

const legend = (...items) => h("ul", { class: "key" }, items.filter(Boolean).map(([kind, text]) => h("li", {},
  s("svg", { viewBox: "0 0 18 12", "aria-hidden": "true" }, kind === "band" || kind === "bars" ? s("rect", { class: kind, x: 1, y: 1, width: 16, height: 10 })
    : kind === "ideal" ? s("path", { class: kind, d: "M0 6H18" }) : s("path", { class: kind, d: kind === "crosses" ? cross(9, 6) : "M9 6h0" })), text)));
const cross = (x, y, r = 2.2) => `M${place(x - r, y - r)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;

const sum = (values) => values.reduce((all, value) => all + value, 0);
const meanOf = (shares) => sum(shares.map((share, n) => share * n)) / sum(shares);

function totalsPart({ shots, totals }) {
  const samples = totals.samples.map((count) => count / shots);
  const { ideal, experiment } = totals;
  const isThere = (n) => samples[n] > 0 || (ideal?.[n] ?? 0) > LEAST_SHARE || (experiment?.[n] ?? 0) > LEAST_SHARE;
  const there = samples.map((_, n) => n).filter(isThere);
  const low = there[0];
  const size = Math.ceil((there.at(-1) - low + 1) / MOST_BARS);
  const bars = Math.ceil((there.at(-1) - low + 1) / size);
  const grouped = (shares) => Array.from({ length: bars }, (_, bar) => sum(shares.slice(low + bar * size, low + (bar + 1) * size)));
  const drawn = { samples: grouped(samples), ideal: ideal && grouped(ideal), experiment: experiment && grouped(experiment) };
  const most = Math.max(...drawn.samples, ...(drawn.ideal ?? []), ...(drawn.experiment ?? []));
  const across = scale(low - 0.5, low + bars * size - 0.5, EDGE.left, WIDE - EDGE.right, say(size > 1 ? "clicks_axis_grouped" : "clicks_axis", { n: size }), (value, step) => (step < 1 && !Number.isInteger(value) ? "" : plain(value, Math.max(step, 1))));
  const up = scale(0, most * 1.05, TOTALS_HIGH - EDGE.bottom, EDGE.top, say("share_axis"), (value, step) => `${plain(100 * value, 100 * step)} %`, 4);
  const middle = (bar) => across.at(low + bar * size + (size - 1) / 2);
  const width = (WIDE - EDGE.left - EDGE.right) / bars;
  const gap = Math.min(1.5, width / 5);
  const line = (shares) => shares.map((share, bar) => `${bar ? "L" : "M"}${place(middle(bar), up.at(share))}`).join("");
  const means = [["of_samples", meanOf(samples)], ["of_ideal", totals.ideal_mean], ["of_experiment", experiment && meanOf(experiment)]].filter(([, mean]) => mean !== null);
  const sentence = say("mean_clicks", { means: means.map(([who, mean]) => `${say(who)} ${mean.toFixed(2)}`).join(", ") });
  const title = say("totals_of", { n: sayNumber(shots) });
  return h("figure", {}, h("figcaption", {}, h("h3", {}, title), legend(["bars", say("of_samples")], ideal && ["ideal", say("of_ideal")], experiment && ["dots", say("of_experiment")])),
    picture("totals-plot", TOTALS_HIGH, title, sentence, across, up,
      drawn.samples.map((share, bar) => (share > 0 ? s("rect", { class: "bars", x: middle(bar) - width / 2 + gap / 2, width: width - gap, y: up.at(share), height: up.at(0) - up.at(share) }) : null)),
      drawn.ideal ? s("path", { class: "ideal", d: line(drawn.ideal) }) : null,
      drawn.experiment ? s("path", { class: "dots", d: drawn.experiment.map((share, bar) => `M${place(middle(bar), up.at(share))}h0`).join("") }) : null),
    h("p", { class: "soft" }, sentence, " ", say("ideal_from", { source: totals.source })));
}

function pairsPart({ shots }, pairs) {
  const noise = 2 * pairs.standard_error;
  const xs = spread(pairs.ideal);
  const ys = spread([...xs, ...pairs.samples, ...(pairs.experiment ?? [])]);
  const power = Math.floor(Math.log10(Math.max(Math.abs(ys[0]), Math.abs(ys[1]))));
  const unit = `×10${power < 0 ? "⁻" : ""}${DIGITS[Math.abs(power) % 10]}`;
  const write = (value, step) => plain(value / 10 ** power, step / 10 ** power);
  const across = scale(...xs, EDGE.left, WIDE - EDGE.right, say("ideal_axis", { unit }), write);
  const up = scale(...ys, PAIRS_HIGH - EDGE.bottom, EDGE.top, say("measured_axis", { unit }), write);
  const points = (values, mark) => values.map((value, n) => mark(across.at(pairs.ideal[n]), up.at(value))).join("");
  const [left, right] = xs.map(across.at);
  const sentences = [["of_samples", pairs.agreement], ["of_experiment", pairs.experiment_agreement]].filter(([, found]) => found).map(([who, found]) => say("agreement", {
    who: say(who), slope: sayEstimate(found.slope), error: `${sayEstimate({ value: 100 * found.relative_error.value, error: 100 * found.relative_error.error })} %`,
  }));
  const drawn = say(pairs.modes.length < pairs.all ? "pairs_drawn" : "all_pairs_drawn", { n: sayNumber(pairs.modes.length), all: sayNumber(pairs.all) });
  const title = say("pairs_of", { n: sayNumber(shots) });
  const frame = `clicks-${numbered += 1}`;
  const size = pairs.modes.length < FEW_PAIRS ? " few" : "";
  return h("figure", {},
    h("figcaption", {}, h("h3", {}, title), legend(["points", say("of_samples")], ["ideal", say("of_ideal")], pairs.experiment && ["crosses", say("of_experiment")], ["band", say("noise_band")])),
    picture("pairs-plot", PAIRS_HIGH, title, [...sentences, drawn].join(" "), across, up,
      s("clipPath", { id: frame }, s("rect", { x: left, y: EDGE.top, width: right - left, height: PAIRS_HIGH - EDGE.bottom - EDGE.top })),
      s("path", { class: "band", "clip-path": `url(#${frame})`, d: `M${place(left, up.at(xs[0] - noise))}L${place(left, up.at(xs[0] + noise))}L${place(right, up.at(xs[1] + noise))}L${place(right, up.at(xs[1] - noise))}Z` }),
      pairs.experiment ? s("path", { class: `crosses${size}`, d: points(pairs.experiment, cross) }) : null,
      s("path", { class: `points${size}`, d: points(pairs.samples, (x, y) => `M${place(x, y)}h0`) }),
      s("path", { class: "ideal", d: `M${place(left, up.at(xs[0]))}L${place(right, up.at(xs[1]))}` })),
    h("p", { class: "soft" }, pairs.agreement ? null : `${say("too_few")} `, [...sentences, drawn].join(" ")));
}

function spread(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const edge = (high - low) * 0.03 || Math.abs(high) * 0.1 || 1e-6;
  return [low - edge, high + edge];
}

const table = (caption, heads, rows) => h("table", { class: "told" }, h("caption", {}, caption),
  h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
  h("tbody", {}, rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row" }, first), others.map((cell) => h("td", {}, cell))))));

function totalsTable({ samples, ideal, ideal_errors: errors, experiment }) {
  const rows = samples.map((count, n) => [sayNumber(n), sayNumber(count), ...(ideal ? [`${sayShare(ideal[n])} ± ${sayShare(errors[n])}`] : []), ...(experiment ? [sayShare(experiment[n])] : [])]);
  const isThere = (n) => samples[n] > 0 || (ideal?.[n] ?? 0) > LEAST_SHARE;
  const heads = [say("clicks_axis"), say("of_samples"), ...(ideal ? [say("of_ideal")] : []), ...(experiment ? [say("of_experiment")] : [])];
  return table(say("totals"), heads, rows.filter((_, n) => isThere(n)));
}

function pairsTable({ modes, ideal, samples, experiment }) {
  const strongest = ideal.map((_, n) => n).sort((one, other) => Math.abs(ideal[other]) - Math.abs(ideal[one])).slice(0, LISTED_PAIRS);
  const cell = (value) => value.toFixed(5).replace("-", "−");
  return table(say("strongest_pairs"), [say("modes"), say("of_samples"), say("of_ideal"), ...(experiment ? [say("of_experiment")] : [])],
    strongest.map((n) => [modes[n].join(", "), cell(samples[n]), cell(ideal[n]), ...(experiment ? [cell(experiment[n])] : [])]));
}
