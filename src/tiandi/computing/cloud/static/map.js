// The calibration map: a machine's qubits where they lie, coloured by a figure, and its couplers by the error of their gate.
import { h, refill, s } from "./dom.js";
import { FIGURES, TWO_QUBIT, colourOf, gradient, inkOn, scaleOf } from "./figures.js";
import { say, sayGigahertz, sayMicroseconds, sayNanoseconds, sayShare } from "./words.js";

const STEP = 40;
const RADIUS = 15;
let figure = FIGURES[0].name;
let pinned = null;

export function showMap(section, machine, calibration) {
  pinned = null;
  const draw = () => drawMap(section, machine, calibration, draw);
  draw();
}

function drawMap(section, machine, calibration, draw) {
  const told = machine.facts;
  const head = h("header", { class: "map-head" },
    h("h2", {}, told.title ?? machine.name),
    h("p", { class: "soft" }, [told.maker, told.year].filter(Boolean).join(", ")),
    h("p", { class: "size" }, sizeOf(told)),
    told.note ? h("p", { class: "soft note" }, told.note) : null,
    told.twin ? h("p", { class: "soft" }, say("twin")) : null);
  if (!calibration?.couplers || !calibration.qubits.every((qubit) => Number.isFinite(qubit.row))) {
    const figures = Object.entries(calibration?.figures ?? {});
    refill(section, head, figures.length
      ? facts(figures.map(([name, { value, label, source }]) => [name.replaceAll("_", " "), h("span", { title: source }, `${value} (${label})`)]))
      : h("p", { class: "empty" }, say("no_map")));
    return;
  }
  const chosen = FIGURES.find((item) => item.name === figure);
  const scales = { qubits: scaleOf(chosen, calibration.qubits), couplers: scaleOf(TWO_QUBIT, calibration.couplers) };
  const detail = h("div", { id: "detail" });
  const choice = h("select", { "data-key": "figure", onchange: (event) => { figure = event.target.value; draw(); } },
    FIGURES.map((item) => h("option", { value: item.name, selected: item.name === figure }, say(item.name))));
  refill(section, head,
    h("div", { class: "map-bar" }, h("label", {}, say("colour_by"), choice), legend(chosen, scales.qubits), legend(TWO_QUBIT, scales.couplers)),
    h("div", { class: "map-body" }, lattice(calibration, scales, (what) => tell(detail, calibration, what)), detail));
  tell(detail, calibration, pinned);
}

export function sizeOf(facts) {
  if (facts.modes !== undefined) return say("n_modes", { n: facts.modes });
  const parts = [say("n_qubits", { n: facts.qubits })];
  if (facts.couplers !== undefined) parts.push(say("n_couplers", { n: facts.couplers }));
  const named = /\d{3}$/.exec(facts.name)?.[0];
  const isSum = named !== undefined && facts.qubits + facts.couplers === Number(named);
  return parts.join(", ") + (isSum ? ` (${say("named_for_sum", { n: named })})` : "");
}

function legend(given, scale) {
  if (scale === null) return null;
  const colours = gradient(24);
  const bar = s("svg", { class: "scale", viewBox: "0 0 24 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    colours.map((colour, i) => s("rect", { x: i, y: 0, width: 1, height: 1, fill: colour, "shape-rendering": "crispEdges" })));
  return h("div", { class: "legend" },
    h("span", { class: "legend-name" }, given === TWO_QUBIT ? say("couplers_by") : say("qubits_by", { figure: say(given.name) })),
    h("span", { class: "ends" }, h("span", {}, `${say("best")} ${given.write(scale.best)}`), bar, h("span", {}, `${given.write(scale.worst)} ${say("worst")}`)));
}

// Rows of a lattice whose couplers lead to the same and to the next column of the next row are shifted by half a step.
function placesOf(calibration) {
  const kinds = new Set();
  for (const { qubits: [a, b] } of calibration.couplers) {
    const one = calibration.qubits[a];
    const other = calibration.qubits[b];
    if (one.row !== other.row) kinds.add(Math.abs(one.column - other.column));
  }
  const isShifted = kinds.has(0) && kinds.has(1);
  return calibration.qubits.map(({ row, column }) => ({ x: STEP * (isShifted ? 2 * column + (row % 2) : column * (kinds.has(1) ? 1 : 1.3)), y: STEP * row * (isShifted || kinds.has(1) ? 1 : 1.15) }));
}

function lattice(calibration, scales, show) {
  const places = placesOf(calibration);
  const edge = RADIUS + 4;
  const width = Math.max(...places.map((place) => place.x)) + 2 * edge;
  const height = Math.max(...places.map((place) => place.y)) + 2 * edge;
  const settle = () => show(pinned);
  const lines = calibration.couplers.map((coupler) => couplerLine(coupler, places, scales.couplers, show, settle));
  const dots = calibration.qubits.map((qubit) => qubitDot(qubit, places[qubit.qubit], scales.qubits, show, settle));
  dots[0]?.setAttribute("tabindex", "0");
  const picture = s("svg", { class: "lattice", preserveAspectRatio: "xMidYMin meet", viewBox: `${-edge} ${-edge} ${width} ${height}`, role: "group", "aria-label": say("map_of", { machine: calibration.machine }) }, lines, dots);
  picture.addEventListener("keydown", (event) => walk(event, dots, places));
  return picture;
}

function couplerLine(coupler, places, scale, show, settle) {
  const [a, b] = coupler.qubits.map((qubit) => places[qubit]);
  const ends = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
  const what = { kind: "coupler", item: coupler };
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  return s("g", { class: coupler.works ? "coupler" : "coupler off", onpointerenter: () => show(what), onpointerleave: settle, onclick: () => { pinned = what; show(what); } },
    s("line", { ...ends, class: "wire", stroke: coupler.works ? colourOf(scale, coupler.two_qubit_error) : null }),
    coupler.works ? null : cross(middle, 5),
    s("line", { ...ends, class: "touch" }));
}

function qubitDot(qubit, place, scale, show, settle) {
  const what = { kind: "qubit", item: qubit };
  const pin = () => { pinned = what; show(what); };
  const fill = qubit.works ? colourOf(scale, qubit[scale.name]) : null;
  return s("g", { class: qubit.works ? "qubit" : "qubit off", role: "img", tabindex: "-1", "aria-label": sentence(qubit), "data-qubit": qubit.qubit,
    onpointerenter: () => show(what), onpointerleave: settle, onclick: pin, onfocus: pin },
  s("circle", { cx: place.x, cy: place.y, r: RADIUS, fill }),
  qubit.works ? null : cross(place, 9),
  qubit.works ? s("text", { x: place.x, y: place.y + 4, fill: inkOn(scale, qubit[scale.name]) }, String(qubit.qubit)) : null);
}

const cross = ({ x, y }, size) => s("path", { class: "cross", d: `M${x - size} ${y - size}L${x + size} ${y + size}M${x - size} ${y + size}L${x + size} ${y - size}` });

function sentence(qubit) {
  const name = say("qubit_n", { n: qubit.qubit });
  if (!qubit.works) return `${name}: ${say("disabled")}`;
  return `${name}: ${FIGURES.map((item) => `${say(item.name)} ${item.write(qubit[item.name])}`).join(", ")}`;
}

// Arrow keys go to the nearest qubit that way.
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function walk(event, dots, places) {
  const way = WAYS[event.key];
  const from = dots.indexOf(document.activeElement);
  if (way === undefined || from < 0) return;
  event.preventDefault();
  let best = null;
  let least = Infinity;
  places.forEach((place, to) => {
    const dx = place.x - places[from].x;
    const dy = place.y - places[from].y;
    const along = dx * way[0] + dy * way[1];
    const aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
    if (along > 0 && along + 2 * aside < least) { least = along + 2 * aside; best = to; }
  });
  if (best === null) return;
  dots[from].setAttribute("tabindex", "-1");
  dots[best].setAttribute("tabindex", "0");
  dots[best].focus();
}

function tell(detail, calibration, what) {
  if (what === null) {
    refill(detail, h("h3", {}, say("whole_machine")), facts([
      [say("single_qubit_gate"), sayNanoseconds(calibration.single_qubit_gate_s)],
      [say("two_qubit_gate"), sayNanoseconds(calibration.two_qubit_gate_s)],
      [say("readout"), sayMicroseconds(calibration.readout_s)],
    ]), h("p", { class: "soft" }, say("map_hint")));
    return;
  }
  const { kind, item } = what;
  if (kind === "coupler") {
    refill(detail, h("h3", {}, say("coupler_of", { a: item.qubits[0], b: item.qubits[1] })), item.works
      ? facts([[say("two_qubit_error"), sayShare(item.two_qubit_error)]]) : h("p", {}, `✕ ${say("disabled")}`));
    return;
  }
  const own = calibration.couplers.filter((coupler) => coupler.qubits.includes(item.qubit));
  const other = (coupler) => coupler.qubits.find((qubit) => qubit !== item.qubit);
  refill(detail, h("h3", {}, say("qubit_n", { n: item.qubit })),
    item.works ? facts([
      ...FIGURES.map((one) => [say(one.name), one.write(item[one.name])]),
      [say("one_for_zero"), sayShare(item.one_for_zero)],
      [say("zero_for_one"), sayShare(item.zero_for_one)],
      [say("frequency"), sayGigahertz(item.frequency_hz)],
    ]) : h("p", {}, `✕ ${say("disabled")}`),
    h("h3", {}, say("its_couplers")),
    facts(own.map((coupler) => [say("to_qubit", { n: other(coupler) }), coupler.works ? sayShare(coupler.two_qubit_error) : `✕ ${say("disabled")}`])));
}

const facts = (lines) => h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
export { facts };
