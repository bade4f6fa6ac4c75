// The panel at the left: the network in lists, its sky and its alarms. All that the globe shows can be reached here by keyboard.
import { follow, h, write } from "./dom.js";
import { nameOf, say, sayBits, sayDay, sayDuration, sayEnds, sayKind, sayRate, saySentence, sayTime } from "./words.js";
import { SIGNS } from "./colours.js";
import { isSelected, mayAct, select, state } from "./state.js";

const SHOWN = 60;

function makeRow(onclick) {
  const row = h("button", { class: "row", type: "button", onclick });
  row.parts = { glyph: h("span", { class: "glyph", "aria-hidden": "true" }), name: h("span", { class: "name" }), value: h("span", { class: "value" }), under: h("span", { class: "under" }) };
  row.append(...Object.values(row.parts));
  return row;
}

function fillRow(row, { sign, tone, name, value, under, chosen }) {
  write(row.parts.glyph, sign);
  row.parts.glyph.className = `glyph ${tone}`;
  write(row.parts.name, name);
  write(row.parts.value, value);
  write(row.parts.under, under);
  row.setAttribute("aria-current", String(chosen));
}

// One list: a heading, rows by `describe`, and a word on how many more there are.
function makeList(title, kind, describe, nameIn) {
  const rows = h("div");
  const more = h("p", { class: "more" });
  const heading = h("h2", {}, say(title));
  return {
    element: h("section", {}, heading, rows, more),
    update(items, wanted) {
      const found = items.map((item) => ({ item, told: describe(item), key: nameIn(item) }))
        .filter(({ told, key }) => !wanted || `${told.name} ${key}`.toLowerCase().includes(wanted));
      heading.parentElement.hidden = !found.length;
      write(heading, `${say(title)} · ${found.length}`);
      follow(rows, found.slice(0, SHOWN), ({ key }) => String(key), ({ key }) => makeRow(() => select(kind, key)),
        (row, { told, key }) => fillRow(row, { ...told, chosen: isSelected(kind, key) }));
      write(more, found.length > SHOWN ? say("more", { n: found.length - SHOWN }) : "");
      more.hidden = found.length <= SHOWN;
      return found.length;
    },
  };
}

const TROUBLE = ["alarm", "eavesdropped", "cut", "up", "idle"];
const rank = (link) => TROUBLE.indexOf(link.state) - (link.eavesdropped ? 0.5 : 0);

export function networkTab() {
  const filter = h("input", { class: "filter", type: "search", placeholder: say("filter"), "aria-label": say("filter"), oninput: () => update() });
  const nothing = h("p", { class: "empty" });
  const lists = [
    [makeList("pairs", "pair", (pair) => ({
      sign: SIGNS[pair.state], tone: pair.state, name: sayEnds(pair.ends), value: sayRate(pair.served_bps),
      under: `${say(pair.state)} · ${say("wanted_short")} ${sayRate(pair.wanted_bps)}${pair.age_s === null ? "" : ` · ${say("age_short")} ${sayDuration(pair.age_s)}`}`,
    }), (pair) => pair.ends), (network) => network.pairs],
    [makeList("links", "link", (link) => ({
      sign: SIGNS[link.state], tone: link.state, name: nameOf(link.name), value: sayRate(link.rate_bps),
      under: [say(link.state), link.eavesdropped && link.state !== "eavesdropped" ? say("eavesdropped") : sayKind(link.kind), `${say("stock")} ${sayBits(link.stock_bit)}`, link.fidelity === "expected" ? say("expected") : null].filter(Boolean).join(" · "),
    }), (link) => link.name), (network) => [...network.links].sort((a, b) => rank(a) - rank(b))],
    [makeList("nodes", "node", (node) => ({
      sign: node.alarms ? SIGNS.alarm : node.kind === "ground station" ? "◆" : "●", tone: node.alarms ? "alarm" : node.compromised ? "eavesdropped" : "idle", name: nameOf(node.name), value: "",
      under: [sayKind(node.kind), node.cloudy ? say("cloudy") : null, node.compromised ? say("compromised") : null].filter(Boolean).join(" · "),
    }), (node) => node.name), (network) => network.nodes],
  ];
  function update() {
    const { network } = state;
    if (!network) { write(nothing, say("loading")); return; }
    const wanted = filter.value.trim().toLowerCase();
    const count = lists.reduce((sum, [list, itemsOf]) => sum + list.update(itemsOf(network), wanted), 0);
    nothing.hidden = count > 0;
    write(nothing, say(network.nodes.length ? "nothing_found" : "empty_network"));
  }
  return { element: h("div", {}, filter, nothing, ...lists.map(([list]) => list.element)), update };
}

export function skyTab(jump) {
  const satellites = makeList("satellites", "satellite", (satellite) => ({
    sign: satellite.sunlit ? "☀" : "☾", tone: "idle", name: nameOf(satellite.name), value: `${Math.round(satellite.altitude_km)} km`, under: say(satellite.sunlit ? "sunlit" : "dark"),
  }), (satellite) => satellite.name);
  const none = h("p", { class: "empty" }, say("no_satellites"));
  const lists = ["now", "planned"].map((when) => ({ when, rows: h("div"), none: h("p", { class: "soft" }, say("no_contacts")) }));
  const contacts = h("div", {}, ...lists.flatMap(({ when, rows, none: word }) => [h("h2", {}, say(when === "now" ? "contacts_now" : "contacts_next")), rows, word]));
  const makeContact = (contact) => {
    const row = makeRow(() => select("satellite", contact.satellite));
    const there = contact.state === "planned" ? h("button", { type: "button", title: say("jump_there"), "aria-label": `${say("jump_there")}: ${contact.begins}`, onclick: () => jump(contact.begins) }, "⇥") : null;
    const line = h("div", { class: there ? "with-jump" : "" }, row, there);
    line.row = row;
    return line;
  };
  return {
    element: h("div", {}, none, satellites.element, contacts),
    update() {
      const { network } = state;
      if (!network) return;
      satellites.update(network.satellites, "");
      none.hidden = network.satellites.length > 0;
      contacts.hidden = !network.satellites.length;
      for (const { when, rows, none: word } of lists) {
        const found = network.contacts.filter((contact) => contact.state === when);
        word.hidden = found.length > 0;
        follow(rows, found, (contact) => `${contact.satellite} ${contact.station} ${contact.begins}`, makeContact, (line, contact) => fillRow(line.row, {
          sign: SIGNS[when], tone: when, name: `${nameOf(contact.satellite)} → ${nameOf(contact.station)}`, value: sayRate(contact.rate_bps),
          under: `${sayDay(contact.begins)} ${sayTime(contact.begins)}–${sayTime(contact.ends)} · ${say("elevation")} ${contact.elevation_deg.toFixed(0)}°`, chosen: isSelected("satellite", contact.satellite),
        }));
      }
    },
  };
}

export function alarmCard(alarm, acknowledge) {
  const word = h("span", { class: "soft" });
  const button = h("button", { type: "button", onclick: () => acknowledge(alarm.id) }, say("acknowledge"));
  const card = h("article", { class: `alarm-card ${alarm.severity}` },
    h("header", {}, h("span", {}, `${SIGNS.alarm} ${nameOf(alarm.link)}`), h("span", { class: "soft number" }, sayTime(alarm.time))),
    h("p", {}, `${say(alarm.severity)}: ${saySentence(alarm.cause)}`),
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => select("link", alarm.link) }, say("show")), button, word));
  card.fill = (now) => {
    card.classList.toggle("acknowledged", now.acknowledged);
    button.hidden = now.acknowledged || !mayAct();
    write(word, now.acknowledged ? say("acknowledged") : "");
  };
  return card;
}

export function alarmsTab(acknowledge) {
  const none = h("p", { class: "empty" });
  const cards = h("div");
  const severities = ["all", "critical", "major", "unacknowledged"];
  let wanted = "all";
  const filters = h("div", { class: "filters", role: "group", "aria-label": say("tab_alarms") },
    ...severities.map((severity) => h("button", { type: "button", "aria-pressed": String(severity === wanted), onclick: (event) => {
      wanted = severity;
      for (const button of filters.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      update();
    } }, say(severity))));
  function update() {
    const alarms = [...(state.network?.alarms ?? [])].reverse().filter((alarm) => wanted === "all" || alarm.severity === wanted || (wanted === "unacknowledged" && !alarm.acknowledged))
      .sort((a, b) => a.acknowledged - b.acknowledged);
    none.hidden = alarms.length > 0;
    write(none, say(state.network?.alarms.length ? "nothing_found" : "no_alarms"));
    follow(cards, alarms, (alarm) => alarm.id, (alarm) => alarmCard(alarm, acknowledge), (card, alarm) => card.fill(alarm));
  }
  return { element: h("div", {}, filters, none, cards), update };
}

export const countUnseen = () => (state.network?.alarms ?? []).filter((alarm) => !alarm.acknowledged).length;
