// A chip's calibration: the map by any parameter, how far each experiment has come, every fit of an element as a plot.
// The data come from the server, or, in a report, from the page itself.
const WORDS = {
  en: {
    title: "Control of a chip", other_language: "中文", scheme: "Light or dark", view_map: "Map", view_graph: "Experiments", view_element: "Element",
    colour_by: "Colour by", qubits: "Qubits", couplers: "Couplers", states: "States of experiments", sound: "{n} of {all} qubits sound", flagged: "{n} flags",
    lab_time: "laboratory time", quiet: "Nothing is being measured.", hint: "Choose a qubit or a coupler on the map; arrow keys go to the nearest.",
    qubit: "Qubit", coupler: "Coupler", joins: "joins", known: "known: {n}", good: "good", stale: "stale", failed: "failed", never: "never",
    value: "Value", parameters: "Parameters", fits: "Fits", no_fits: "No curve was kept of it.", not_within: "This report holds no fits of it.", verdicts: "Verdicts",
    no_connection: "No connection; trying again.", measured: "measured", model: "fit", needs: "after {names}", of_those: "{done} of {total}, {good} good",
    flags: "Flags", map_of: "Map by {name}", unknown: "not known",
  },
  zh: {
    title: "芯片测控", other_language: "English", scheme: "明暗", view_map: "芯片图", view_graph: "实验", view_element: "单元",
    colour_by: "着色", qubits: "量子比特", couplers: "耦合器", states: "实验状态", sound: "{all} 个量子比特中 {n} 个完好", flagged: "{n} 个标记",
    lab_time: "实验室时间", quiet: "目前没有测量。", hint: "在图上选择量子比特或耦合器；方向键移到最近的一个。",
    qubit: "量子比特", coupler: "耦合器", joins: "连接", known: "已知：{n}", good: "良好", stale: "过期", failed: "失败", never: "未测",
    value: "值", parameters: "参数", fits: "拟合", no_fits: "没有保存曲线。", not_within: "本报告不含它的拟合。", verdicts: "判定",
    no_connection: "连接中断，正在重试。", measured: "测量", model: "拟合", needs: "在 {names} 之后", of_those: "{done} / {total}，{good} 个良好",
    flags: "标记", map_of: "按 {name} 着色的芯片图", unknown: "未知",
  },
};
const SVG = "http://www.w3.org/2000/svg";
const STOPS = [[36, 86, 166], [79, 127, 168], [138, 154, 134], [201, 180, 88], [255, 220, 61]];
const STEP = 40;
const RADIUS = 15;
const STATES = ["good", "stale", "failed", "never"];
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FIRST = ["frequency_hz", "t1_s", "pi_amplitude"];

const own = document.getElementById("data");
const data = own === null ? null : JSON.parse(own.textContent);
const at = (id) => document.getElementById(id);
const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* A file may have none. */ } };
const state = { chip: null, parameter: null, name: null, chosen: null, element: null, fits: {}, step: {}, view: "map" };
let language = stored("tiandi-language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const say = (key, values = {}) => (WORDS[language]?.[key] ?? WORDS.en[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

// Elements without a framework. Text is always set as text, never read as markup.
function fill(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}
const h = (tag, given, ...children) => fill(document.createElement(tag), given, children);
const s = (tag, given, ...children) => fill(document.createElementNS(SVG, tag), given, children);
function refill(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  if (key !== undefined) [...parent.querySelectorAll("[data-key]")].find((child) => child.dataset.key === key)?.focus();
}

async function ask(path, given = {}) {
  if (data !== null) {
    if (path === "chip") return data.chip;
    if (path === "parameter") return data.parameters[given.name];
    const whole = data.elements[`${given.kind}:${given.index}`];
    if (path === "element") return whole?.element ?? null;
    return whole?.fits[given.experiment] ?? null;
  }
  const answer = await fetch(`/api/${path}?${new URLSearchParams(given)}`);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

// Numbers with the unit that a parameter's name ends in.
const UNITS = { hz: "Hz", s: "s", v: "V", ns: "ns", dbc: "dBc", rad: "rad" };
const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
function scaled(value, unit) {
  const size = Math.abs(value);
  const [factor, prefix] = PREFIXES.find(([one]) => size >= one) ?? (size === 0 ? [1, ""] : PREFIXES.at(-1));
  return [factor, `${prefix}${unit}`];
}
function write(name, value, uncertainty = null) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return say(value);
  const unit = UNITS[name.split("_").at(-1)];
  const [factor, word] = unit === "Hz" || unit === "s" || unit === "V" ? scaled(value, unit) : [1, unit ?? ""];
  const number = value / factor;
  let text = String(Number(number.toPrecision(5)));
  if (uncertainty > 0) {
    const places = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(uncertainty / factor))));
    text = `${number.toFixed(places)} ± ${(uncertainty / factor).toFixed(places)}`;
  }
  return word ? `${text} ${word}` : text;
}
const human = (name) => (name.startsWith("state:") ? name.slice(6) : name.replace(/_(hz|s|v|ns|dbc)$/, "").replaceAll("_", " "));

function mixed(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const from = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[from].map((value, i) => Math.round(value + (STOPS[from + 1][i] - value) * (place - from)));
}
const css = (colour) => `rgb(${colour.join(" ")})`;
function ink(colour) {
  const [r, g, b] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
function scaleOf(values) {
  const known = values.filter((value) => typeof value === "number").sort((a, b) => a - b);
  return known.length ? { low: known[0], high: known.at(-1), known } : null;
}
const share = (scale, value) => (scale.high === scale.low ? 0.5 : (value - scale.low) / (scale.high - scale.low));

async function start() {
  document.documentElement.dataset.scheme = stored("tiandi-scheme") ?? "";
  await load();
  if (data === null) follow();
  document.documentElement.dataset.ready = "";
}

async function load() {
  state.chip = await ask("chip");
  const names = state.chip.parameters.map((one) => one.name);
  state.name ??= FIRST.find((name) => names.includes(name)) ?? names[0];
  state.parameter = await ask("parameter", { name: state.name });
  if (state.chosen === null && data !== null) {
    const [kind, index] = Object.keys(data.elements)[0]?.split(":") ?? [null];
    if (kind !== null) state.chosen = { kind, index: Number(index) };
  }
  if (state.chosen !== null) await loadElement();
  draw();
}

async function loadElement() {
  const { kind, index } = state.chosen;
  const element = await ask("element", { kind, index });
  const fits = {};
  for (const one of element?.experiments ?? []) if (one.curves) fits[one.name] = await ask("fit", { experiment: one.name, kind, index }).catch(() => null);
  if (state.chosen.kind === kind && state.chosen.index === index) Object.assign(state, { element, fits });
}

// What is being measured, as it happens; what came of it is asked for when an experiment ends.
function follow() {
  const stream = new EventSource("/api/events");
  let again = null;
  stream.addEventListener("step", (event) => {
    const step = JSON.parse(event.data);
    const isOther = step.experiment !== state.step.experiment || step.done === step.total;
    state.step = step;
    drawGraph();
    if (isOther && again === null) again = setTimeout(() => { again = null; load().catch(() => {}); }, 400);
  });
  stream.addEventListener("open", () => { at("banner").hidden = true; });
  stream.addEventListener("error", () => {
    at("banner").hidden = false;
    at("banner").textContent = say("no_connection");
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  });
}

function draw() { drawHead(); drawViews(); drawGraph(); drawMap(); drawElement(); }

function drawHead() {
  const { chip } = state;
  document.title = `tiandi: ${say("title")}`;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const changeLanguage = () => { language = language === "en" ? "zh" : "en"; store("tiandi-language", language); draw(); };
  const changeScheme = () => {
    const root = document.documentElement;
    const isDark = (root.dataset.scheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    root.dataset.scheme = isDark ? "light" : "dark";
    store("tiandi-scheme", root.dataset.scheme);
    drawElement();
  };
  refill(at("head"),
    h("h1", {}, h("span", { class: "mark" }, "天地"), h("span", { class: "title" }, say("title"))),
    h("p", { class: "totals" }, `${say("sound", { n: chip.sound.qubit, all: chip.position.length })} · ${say("flagged", { n: chip.flags.length })} · ${say("lab_time")} ${Math.round(chip.now_s)} s`),
    h("div", { class: "choices" },
      h("button", { "data-key": "language", lang: language === "en" ? "zh-CN" : "en", onclick: changeLanguage }, say("other_language")),
      h("button", { "data-key": "scheme", "aria-label": say("scheme"), title: say("scheme"), onclick: changeScheme }, "◐")));
}

function drawViews() {
  document.body.dataset.view = state.view;
  refill(at("views"), ["map", "graph", "element"].map((view) => h("button", { "data-key": view, "aria-pressed": String(view === state.view), onclick: () => { state.view = view; drawViews(); } }, say(`view_${view}`))));
}

function drawGraph() {
  const { chip, step } = state;
  const busy = step.experiment
    ? h("div", { class: "busy" }, h("strong", {}, step.title), h("progress", { max: Math.max(step.total, 1), value: step.done, "aria-label": step.title }), h("span", { class: "soft" }, say("of_those", step)))
    : h("p", { class: "soft" }, say("quiet"));
  const list = chip.experiments.map((one) => {
    const total = STATES.reduce((sum, word) => sum + one.counts[word], 0);
    let from = 0;
    const parts = STATES.map((word) => {
      const width = total ? (100 * one.counts[word]) / total : 0;
      from += width;
      return s("rect", { class: word, x: from - width, y: 0, width, height: 8 });
    });
    const told = STATES.filter((word) => one.counts[word]).map((word) => `${one.counts[word]} ${say(word)}`).join(", ");
    const name = `state:${one.name}`;
    return h("li", {}, h("button", { class: one.name === step.experiment ? "row now" : "row", "data-key": name, "aria-pressed": String(state.name === name), title: one.after.length ? say("needs", { names: one.after.join(", ") }) : null, onclick: () => { state.view = "map"; choose(name); } },
      h("span", { class: "name" }, one.title), h("span", { class: "under" }, told),
      s("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, parts)));
  });
  const flags = chip.flags.map((flag) => h("li", {}, h("button", { class: "row", "data-key": `flag ${flag.element} ${flag.index} ${flag.fault}`, onclick: () => pick({ kind: flag.element, index: flag.index }) },
    h("span", { class: "name" }, `✕ ${say(flag.element)} ${flag.index}: ${flag.fault}`), h("span", { class: "under" }, flag.reason))));
  refill(at("graph"), h("h2", {}, say("view_graph")), data === null ? busy : null, h("ul", { class: "rows" }, list),
    flags.length ? h("h2", {}, say("flags")) : null, h("ul", { class: "rows" }, flags));
}

async function choose(name) {
  state.name = name;
  state.parameter = await ask("parameter", { name });
  draw();
}
async function pick(what) {
  state.chosen = what;
  if (innerWidth <= 900) state.view = "element";
  await loadElement();
  drawViews();
  drawMap();
  drawElement();
}

function drawMap() {
  const { chip, parameter } = state;
  const isState = state.name.startsWith("state:");
  const scale = isState ? null : scaleOf(parameter.value);
  const option = (name, text) => h("option", { value: name, selected: name === state.name }, text);
  const groups = ["qubit", "coupler"].map((kind) => h("optgroup", { label: say(`${kind}s`) }, chip.parameters.filter((one) => one.element === kind).map((one) => option(one.name, human(one.name)))));
  const choice = h("select", { "data-key": "parameter", onchange: (event) => choose(event.target.value) }, groups,
    h("optgroup", { label: say("states") }, chip.experiments.map((one) => option(`state:${one.name}`, one.title))));
  refill(at("map"),
    h("div", { class: "map-bar" }, h("label", {}, say("colour_by"), choice), isState ? stateLegend() : scale === null ? null : legend(scale)),
    lattice(scale, isState), scale === null || scale.known.length < 8 ? null : histogram(scale),
    h("p", { class: "soft" }, chip.name));
}

function legend(scale) {
  const bar = s("svg", { class: "scale", viewBox: "0 0 24 1", preserveAspectRatio: "none", "aria-hidden": "true" }, Array.from({ length: 24 }, (_, i) => s("rect", { x: i, y: 0, width: 1.05, height: 1, fill: css(mixed(i / 23)) })));
  return h("div", { class: "legend" }, h("span", {}, write(state.name, scale.low)), bar, h("span", {}, write(state.name, scale.high)), h("span", { class: "soft" }, say("known", { n: scale.known.length })));
}
const stateLegend = () => h("div", { class: "legend" }, STATES.map((word) => h("span", { class: "key" }, s("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" }, s("circle", { class: word, cx: 5, cy: 5, r: 5 })), say(word))));

function histogram({ low, high, known }) {
  const count = Math.min(40, Math.max(8, Math.round(2 * Math.sqrt(known.length))));
  const bins = new Array(count).fill(0);
  for (const value of known) bins[Math.min(count - 1, Math.floor(count * (high === low ? 0 : (value - low) / (high - low))))] += 1;
  const most = Math.max(...bins);
  const median = known[Math.floor(known.length / 2)];
  return h("figure", {}, s("svg", { class: "histogram", viewBox: `0 0 ${count} 10`, preserveAspectRatio: "none", role: "img", "aria-label": say("value") }, bins.map((many, i) => s("rect", { x: i + 0.04, width: 0.92, y: 10 - (10 * many) / most, height: (10 * many) / most, fill: css(mixed(i / (count - 1))) }))),
    h("figcaption", { class: "soft ends" }, h("span", {}, write(state.name, low)), h("span", {}, `median ${write(state.name, median)}`), h("span", {}, write(state.name, high))));
}

function lattice(scale, isState) {
  const { chip, parameter } = state;
  const places = chip.position.map(([row, column]) => ({ x: STEP * column, y: STEP * row }));
  const edge = RADIUS + 4;
  const width = Math.max(...places.map((place) => place.x)) + 2 * edge;
  const height = Math.max(...places.map((place) => place.y)) + 2 * edge;
  const flagged = new Set(chip.flags.map((flag) => `${flag.element}:${flag.index}`));
  const look = (kind, index) => {
    const value = parameter.element === kind ? parameter.value[index] : null;
    if (isState) return { word: value, value };
    return typeof value === "number" ? { colour: mixed(share(scale, value)), value } : { value: null };
  };
  const label = (kind, index, value) => `${say(kind)} ${index}: ${human(state.name)} ${value === null ? say("unknown") : write(state.name, value)}`;
  const isChosen = (kind, index) => state.chosen?.kind === kind && state.chosen?.index === index;
  const lines = chip.couplers.map(([a, b], index) => {
    const { colour, word, value } = look("coupler", index);
    const [one, other] = [places[a], places[b]];
    const off = flagged.has(`coupler:${index}`);
    return s("g", { class: `coupler${off ? " off" : ""}${isChosen("coupler", index) ? " chosen" : ""}`, onclick: () => pick({ kind: "coupler", index }) },
      s("title", {}, label("coupler", index, value)),
      s("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y, class: `wire ${word ?? ""}`, stroke: colour ? css(colour) : null }),
      off ? cross((one.x + other.x) / 2, (one.y + other.y) / 2, 5) : null,
      s("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y, class: "touch" }));
  });
  const dots = places.map(({ x, y }, index) => {
    const { colour, word, value } = look("qubit", index);
    const off = flagged.has(`qubit:${index}`);
    return s("g", { class: `qubit${off ? " off" : ""}${isChosen("qubit", index) ? " chosen" : ""}`, role: "img", tabindex: isChosen("qubit", index) || (state.chosen?.kind !== "qubit" && index === 0) ? "0" : "-1", "data-key": `qubit ${index}`, "aria-label": label("qubit", index, value), onclick: () => pick({ kind: "qubit", index }) },
      s("title", {}, label("qubit", index, value)),
      s("circle", { cx: x, cy: y, r: RADIUS, class: word ?? "", fill: colour ? css(colour) : null }),
      off ? cross(x, y, 9) : s("text", { x, y: y + 4, fill: colour ? ink(colour) : null }, String(index)));
  });
  const picture = s("svg", { class: "lattice", viewBox: `${-edge} ${-edge} ${width} ${height}`, preserveAspectRatio: "xMidYMin meet", role: "group", "aria-label": say("map_of", { name: human(state.name) }) }, lines, dots);
  picture.addEventListener("keydown", (event) => walk(event, dots, places));
  return picture;
}
const cross = (x, y, size) => s("path", { class: "cross", d: `M${x - size} ${y - size}L${x + size} ${y + size}M${x - size} ${y + size}L${x + size} ${y - size}` });

function walk(event, dots, places) {
  const from = dots.indexOf(document.activeElement);
  if (from < 0) return;
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick({ kind: "qubit", index: from }); return; }
  const way = WAYS[event.key];
  if (way === undefined) return;
  event.preventDefault();
  let best = null;
  let least = Infinity;
  places.forEach((place, to) => {
    const along = (place.x - places[from].x) * way[0] + (place.y - places[from].y) * way[1];
    const aside = Math.abs((place.x - places[from].x) * way[1]) + Math.abs((place.y - places[from].y) * way[0]);
    if (along > 0 && along + 2 * aside < least) { least = along + 2 * aside; best = to; }
  });
  if (best !== null) dots[best].focus();
}

function drawElement() {
  const { chosen, element, fits, chip } = state;
  if (chosen === null) { refill(at("element"), h("p", { class: "soft" }, say("hint"))); return; }
  const head = h("h2", {}, `${say(chosen.kind)} ${chosen.index}`, chosen.kind === "coupler" ? h("small", { class: "soft" }, ` ${say("joins")} ${chip.couplers[chosen.index].join(", ")}`) : null);
  if (element === null) { refill(at("element"), head, h("p", { class: "soft" }, say("not_within"))); return; }
  const flags = element.flags.map((flag) => h("p", { class: "said bad" }, h("strong", {}, `✕ ${flag.fault}`), ` ${flag.reason}`));
  const drawn = Object.values(fits).filter((fit) => fit !== null);
  const plots = drawn.map((fit) => plot(fit));
  const bad = element.experiments.filter((one) => one.reason).map((one) => h("p", { class: one.state === "failed" ? "said bad" : "said" }, h("strong", {}, `${one.title}: ${say(one.state)}.`), ` ${one.reason}`));
  const rows = element.parameters.map((one) => h("div", {}, h("dt", {}, human(one.name)), h("dd", {}, write(one.name, one.value, one.uncertainty))));
  refill(at("element"), head, flags, bad.length ? h("h3", {}, say("verdicts")) : null, bad,
    h("h3", {}, say("fits")), drawn.length ? h("div", { class: "plots" }, plots) : h("p", { class: "soft" }, say("no_fits")),
    h("h3", {}, say("parameters")), h("dl", { class: "facts" }, rows));
}

const known = (values) => values.filter((value) => typeof value === "number");
function ends(values) {
  const all = known(values);
  if (!all.length) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const edge = high === low ? Math.abs(high) * 0.1 || 1 : 0.05 * (high - low);
  return [low - edge, high + edge];
}
function ticks(low, high) {
  const raw = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((one) => one * power >= raw) * power;
  return Array.from({ length: 8 }, (_, i) => (Math.ceil(low / step) + i) * step).filter((value) => value <= high);
}
// Axes in units such that numbers stay short: a common factor is said beside the name.
function axisOf(name, [low, high]) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const found = /\((Hz|s|V)\)/.exec(name);
  if (found === null) return { factor: 1, name };
  const [factor, word] = scaled(size, found[1]);
  return { factor, name: name.replace(`(${found[1]})`, `(${word})`) };
}
function plot(fit) {
  const [width, height, left, bottom] = [330, 190, 52, 34];
  const isWide = fit.rows !== null;
  const xs = ends(fit.x);
  const ys = isWide ? ends(fit.rows) : ends([...fit.y, ...(fit.model ?? [])]);
  const [across, up] = [axisOf(fit.x_name, xs), axisOf(isWide ? fit.rows_name : fit.y_name, ys)];
  const px = (x) => left + ((x - xs[0]) / (xs[1] - xs[0])) * (width - left - 8);
  const py = (y) => height - bottom - ((y - ys[0]) / (ys[1] - ys[0])) * (height - bottom - 8);
  const number = (value, { factor }) => String(Number((value / factor).toPrecision(6)));
  const axes = [
    ...ticks(...xs).map((x) => s("g", {}, s("line", { class: "grid", x1: px(x), x2: px(x), y1: 8, y2: height - bottom }), s("text", { class: "tick", x: px(x), y: height - bottom + 13, "text-anchor": "middle" }, number(x, across)))),
    ...ticks(...ys).map((y) => s("g", {}, s("line", { class: "grid", x1: left, x2: width - 8, y1: py(y), y2: py(y) }), s("text", { class: "tick", x: left - 4, y: py(y) + 4, "text-anchor": "end" }, number(y, up)))),
    s("text", { class: "tick", x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, across.name),
  ];
  const body = isWide ? heat(fit, px, py) : [
    fit.y.map((y, i) => (typeof y === "number" && typeof fit.x[i] === "number" ? s("circle", { class: "point", cx: px(fit.x[i]), cy: py(y), r: 2 }) : null)),
    fit.model === null ? null : s("path", { class: "model", d: pathOf(fit.x, fit.model, px, py) }),
  ].flat();
  const title = isWide ? `${fit.title}: ${fit.y_name}` : fit.title;
  return h("figure", { class: "fit" }, h("figcaption", {}, h("strong", {}, title), h("span", { class: "soft" }, ` ${up.name}`)),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${fit.title}: ${fit.y_name}, ${fit.x_name}` }, isWide ? [body, axes] : [axes, body]));
}
function pathOf(x, y, px, py) {
  const order = x.map((_, i) => i).filter((i) => typeof x[i] === "number" && typeof y[i] === "number").sort((a, b) => x[a] - x[b]);
  return order.map((i, place) => `${place ? "L" : "M"}${px(x[i]).toFixed(1)} ${py(y[i]).toFixed(1)}`).join("");
}
function heat(fit, px, py) {
  const scale = scaleOf(fit.y.flat());
  if (scale === null) return [];
  const every = Math.ceil(fit.x.length / 80);
  const columns = fit.x.map((_, i) => i).filter((i) => i % every === 0);
  const wide = Math.abs(px(fit.x[columns[1] ?? 0]) - px(fit.x[0])) + 0.4 || 6;
  const high = Math.abs(py(fit.rows[1] ?? 0) - py(fit.rows[0])) + 0.4 || 6;
  return fit.rows.flatMap((row, j) => columns.map((i) => (typeof fit.y[j][i] === "number"
    ? s("rect", { x: px(fit.x[i]) - wide / 2, y: py(row) - high / 2, width: wide, height: high, fill: css(mixed(share(scale, fit.y[j][i]))) }) : null)));
}

matchMedia("(max-width: 900px)").addEventListener("change", drawViews);
start();
