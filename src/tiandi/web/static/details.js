// The panel at the right: one link, node, pair or satellite in detail, asked anew whenever the network changed.
import { act, ask, eavesdrop } from "./api.js";
import { makeChart } from "./charts.js";
import { SIGNS } from "./colours.js";
import { follow, h, write } from "./dom.js";
import { alarmCard } from "./lists.js";
import { changed, mayAct, select, state } from "./state.js";
import { inThousands, nameOf, say, sayBits, sayDuration, sayEnds, sayKind, sayRate, saySentence, sayShare, sayTime } from "./words.js";

function makeFacts(keys) {
  const values = keys.map(() => h("dd"));
  return {
    element: h("dl", { class: "facts" }, ...keys.map((key, i) => h("div", {}, h("dt", {}, say(key)), values[i]))),
    fill(given) { given.forEach((value, i) => { write(values[i], value); values[i].title = value; }); },
  };
}

const toggle = (label, act_) => h("button", { type: "button", "aria-pressed": "false", onclick: (event) => act_(event.currentTarget.getAttribute("aria-pressed") !== "true") }, say(label));
const actions = (...buttons) => h("fieldset", { class: "buttons", disabled: !mayAct(), title: mayAct() ? null : say("viewer_only") }, ...buttons);
const press = (button, on) => button.setAttribute("aria-pressed", String(on));

function makeBars() {
  const element = h("div", { class: "bars" });
  return {
    element,
    // Rows of {name, share, mark, value}; shares lie in 0..1.
    fill(rows) {
      follow(element, rows.flatMap((row) => ["name", "bar", "value"].map((part) => ({ ...row, part }))), ({ name, part }) => `${name} ${part}`,
        ({ part }) => (part === "bar" ? h("span", { class: "bar", "aria-hidden": "true" }, h("i"), h("i")) : h("span", { class: part === "value" ? "number" : "" })),
        (cell, { part, name, share, mark, value }) => {
          if (part !== "bar") { write(cell, part === "name" ? name : value); return; }
          cell.firstChild.style.width = `${100 * share}%`;
          cell.lastChild.hidden = mark === undefined;
          cell.lastChild.style.width = `${100 * (mark ?? 0)}%`;
        });
    },
  };
}

const wayOf = (nodes) => h("div", { class: "way" }, ...nodes.flatMap((node, i) => [i ? h("span", { class: "arrow", "aria-hidden": "true" }, "›") : null, h("button", { type: "button", onclick: () => select("node", node) }, nameOf(node))]));
// Ways and sentences are short: they are written anew, but only when they changed.
function rewrite(element, data, make) {
  const text = JSON.stringify(data);
  if (element.written === text) return;
  element.written = text;
  element.replaceChildren(...make(data));
}

function linkPanel(name, tryOut) {
  const facts = makeFacts(["rate", "qber", "stock", "length", "loss", "epsilon", "state", "fidelity"]);
  const eve = toggle("eavesdropper", (on) => tryOut(() => eavesdrop(name, on)));
  const cut = toggle("cut_fibre", (on) => tryOut(() => act(["links", name, "cut"], { on })));
  const funnel = makeBars();
  const figures = h("div");
  const charts = [makeChart(figures, { title: say("rate"), unit: "bit/s", colour: "accent" }), makeChart(figures, { title: say("qber"), colour: "spy", share: true }), makeChart(figures, { title: say("stock"), unit: "bit", colour: "good" })];
  const rows = h("tbody");
  const siblings = h("div");
  const head = ["time", "duration", "detected", "qber", "leaked", "secret_bits"];
  const noBlocks = h("p", { class: "soft" }, say("no_blocks"));
  return {
    kind: "link",
    element: [facts.element, actions(eve, cut), siblings, h("h3", {}, say("over_time")), figures, h("h3", {}, say("funnel")), funnel.element, h("h3", {}, say("blocks")), noBlocks,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say("blocks") }, h("table", {}, h("thead", {}, h("tr", {}, ...head.map((key) => h("th", { scope: "col" }, key === "qber" ? "QBER" : say(key))))), rows))],
    fill(link) {
      facts.fill([sayRate(link.rate_bps), sayShare(link.qber), sayBits(link.stock_bit), `${link.length_km.toFixed(1)} km`, `${link.loss_db.toFixed(1)} dB`, link.epsilon_spent.toExponential(1), say(link.state), say(link.fidelity)]);
      press(eve, link.eavesdropped);
      eve.hidden = cut.hidden = link.kind !== "fibre";
      press(cut, link.state === "cut");
      const hop = state.network.links.filter((other) => other.name !== link.name && [...other.ends].sort().join() === [...link.ends].sort().join());
      rewrite(siblings, hop.map((other) => other.name), (names) => (names.length ? [h("h3", {}, say("same_hop")), h("div", { class: "way" }, ...names.map((other) => h("button", { type: "button", onclick: () => select("link", other) }, nameOf(other))))] : []));
      const times = link.history.map((row) => Date.parse(row[0]) / 1000);
      figures.hidden = figures.previousSibling.hidden = times.length < 2;
      if (times.length >= 2) charts.forEach((chart, i) => chart.update(times, link.history.map((row) => row[[1, 2, 3][i]])));
      const steps = [["pulses", link.funnel.pulses], ["detected", link.funnel.detected], ["sifted", link.funnel.sifted_bit], ["verified", link.funnel.verified_bit], ["secret_bits", link.funnel.secret_bit]];
      const top = Math.log10(Math.max(10, ...steps.map(([, count]) => count)));
      funnel.fill(steps.map(([key, count]) => ({ name: say(key), value: inThousands(count), share: count > 0 ? Math.max(0.01, Math.log10(count + 1) / top) : 0 })));
      noBlocks.hidden = link.blocks.length > 0;
      follow(rows, [...link.blocks].sort((a, b) => (a.time < b.time ? 1 : -1)), (block) => block.time + block.duration_s, (block) => h("tr", {},
        ...[sayTime(block.time), sayDuration(block.duration_s), inThousands(block.detected), sayShare(block.qber)].map((text) => h("td", {}, text)),
        ...(block.aborted_because ? [h("td", { class: "why", colSpan: 2 }, saySentence(block.aborted_because))] : [h("td", {}, inThousands(block.leaked_bit)), h("td", {}, inThousands(block.secret_bit))])), () => {});
    },
    redraw() { charts.forEach((chart) => chart.redraw()); },
  };
}

function nodePanel(name, tryOut) {
  const facts = makeFacts(["trust", "altitude", "in_flight"]);
  const stocks = makeBars();
  const noStocks = h("p", { class: "soft" }, say("no_stocks"));
  const known = state.network.nodes.find((node) => node.name === name);
  const cloud = toggle("cloud", (on) => tryOut(() => act(["stations", name, "cloud"], { on })));
  const compromise = toggle("compromise", (on) => tryOut(() => act(["nodes", name, "compromise"], { on })));
  cloud.hidden = known?.kind !== "ground station";
  const [learns, alarms, doors] = [h("div"), h("div"), h("div")];
  return {
    kind: "node",
    element: [facts.element, actions(cloud, compromise), learns, alarms, h("h3", {}, say("stocks")), stocks.element, noStocks, doors],
    fill(node) {
      facts.fill([String(node.trust), `${Math.round(node.altitude_m)} m`, String(node.relays_in_flight)]);
      press(cloud, node.cloudy);
      press(compromise, node.compromised);
      rewrite(learns, node.what_it_learns, (sentences) => (sentences.length ? [h("h3", {}, say("learns")), h("ul", { class: "sentences" }, ...sentences.map((text) => h("li", {}, saySentence(text))))] : []));
      rewrite(alarms, node.alarm_lines, (lines) => (lines.length ? [h("h3", {}, say("alarms_here")), ...lines.map((alarm) => { const card = alarmCard(alarm, (id) => tryOut(() => act(["alarms", String(id), "acknowledge"]))); card.fill(alarm); return card; })] : []));
      const most = Math.max(1, ...node.stocks.map((stock) => Math.max(stock.own_bit, stock.peers_bit)));
      stocks.fill(node.stocks.map((stock) => ({ name: nameOf(stock.peer), share: stock.own_bit / most, mark: stock.peers_bit / most, value: `${inThousands(stock.own_bit)} / ${sayBits(stock.peers_bit)}` })));
      noStocks.hidden = node.stocks.length > 0;
      rewrite(doors, [node.kme_id, node.address, node.saes], ([kme, address, saes]) => [h("h3", {}, say("kme")), h("p", { class: "mono" }, kme), h("h3", {}, say("door")), h("p", { class: "mono" }, address || "–"), h("h3", {}, say("saes")), saes.length ? h("p", { class: "mono" }, saes.join(", ")) : h("p", { class: "soft" }, say("no_saes"))]);
    },
  };
}

function pairPanel() {
  const facts = makeFacts(["served_rate", "wanted", "age"]);
  const ways = h("div");
  return {
    kind: "pair",
    element: [facts.element, ways],
    fill(pair) {
      facts.fill([sayRate(pair.served_bps), sayRate(pair.wanted_bps), sayDuration(pair.age_s)]);
      rewrite(ways, [pair.route, pair.routes, pair.trust, pair.why], ([route, routes, trust, why]) => [
        h("h3", {}, say("route")), route.length ? wayOf(route) : h("p", { class: "empty" }, why ? saySentence(why) : say("no_route")),
        ...(routes.length > 1 || (routes.length && String(routes[0]) !== String(route)) ? [h("h3", {}, `${say("routes")} · ${routes.length}`), ...routes.map(wayOf)] : []),
        h("h3", {}, say("trust_map")), trust.length ? h("ul", { class: "sentences" }, ...trust.map((line) => h("li", {}, saySentence(line)))) : h("p", { class: "soft" }, say("no_trust")),
      ]);
    },
  };
}

function satellitePanel(name) {
  const facts = makeFacts(["altitude", "footprint", "state"]);
  const contacts = h("div");
  return {
    kind: "satellite",
    element: [facts.element, contacts],
    fill(satellite) {
      facts.fill([`${Math.round(satellite.altitude_km)} km`, `${Math.round(satellite.footprint_km)} km`, say(satellite.sunlit ? "sunlit" : "dark")]);
      const own = state.network.contacts.filter((contact) => contact.satellite === name);
      rewrite(contacts, own, (lines) => [h("h3", {}, say("contacts_next")), ...(lines.length ? lines.map((contact) => h("button", { class: "row", type: "button", onclick: () => select("node", contact.station) },
        h("span", { class: `glyph ${contact.state}`, "aria-hidden": "true" }, SIGNS[contact.state]), h("span", { class: "name" }, nameOf(contact.station)), h("span", { class: "value" }, sayRate(contact.rate_bps)),
        h("span", { class: "under" }, `${say(contact.state)} · ${sayTime(contact.begins)}–${sayTime(contact.ends)} · ${say("elevation")} ${contact.elevation_deg.toFixed(0)}°`))) : [h("p", { class: "soft" }, say("no_contacts"))])]);
    },
  };
}

const MAKERS = { link: linkPanel, node: nodePanel, pair: pairPanel, satellite: satellitePanel };

export function makeDetails(element, tryOut) {
  const title = h("h2", { tabindex: "-1" });
  const under = h("p", { class: "soft" });
  const body = h("div", { class: "detail-body" });
  const close = h("button", { class: "close plain", type: "button", "aria-label": say("close"), title: say("close"), onclick: () => select(null) }, "✕");
  element.replaceChildren(h("div", { class: "detail-head" }, title, under, close), body);
  let panel = null;
  let shown = "";
  let asking = false;
  let again = false;

  function headline({ kind, name }, data) {
    write(title, kind === "pair" ? sayEnds(name) : nameOf(name));
    write(under, kind === "link" && data ? `${sayKind(data.kind)} · ${sayEnds(data.ends)}` : kind === "node" && data ? sayKind(data.kind) : kind === "link" || kind === "node" ? "" : kind === "pair" ? say("pairs") : say("satellites"));
  }

  async function refresh() {
    const { selection } = state;
    if (!selection || !panel) return;
    if (selection.kind === "satellite") {
      const found = state.network.satellites.find((satellite) => satellite.name === selection.name);
      if (found) panel.fill(found);
      headline(selection, found);
      return;
    }
    if (asking) { again = true; return; }
    asking = true;
    try {
      const data = await ask(`${selection.kind}s`, ...[selection.name].flat());
      if (state.selection === selection) {
        state.details = data;
        headline(selection, data);
        panel.fill(data);
        changed("details");
      }
    } catch (error) {
      if (state.selection === selection) write(under, error.message);
    } finally {
      asking = false;
      if (again) { again = false; refresh(); }
    }
  }

  return {
    refresh,
    redraw() { panel?.redraw?.(); refresh(); },
    show() {
      const { selection } = state;
      const key = selection ? `${selection.kind} ${selection.name}` : "";
      if (key === shown) return;
      shown = key;
      element.hidden = !selection;
      document.getElementById("main").classList.toggle("has-detail", Boolean(selection));
      if (!selection) { panel = null; return; }
      panel = MAKERS[selection.kind](selection.name, tryOut);
      headline(selection, null);
      body.replaceChildren(...panel.element);
      body.scrollTop = 0;
      title.focus({ preventScroll: true });
      refresh();
    },
  };
}
