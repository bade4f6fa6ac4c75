// The journals: what happens, as the network tells it, and what the key managers wrote down.
import { askAudit } from "./api.js";
import { follow, followOptions, h, write } from "./dom.js";
import { state } from "./state.js";
import { inThousands, nameOf, say, sayBits, sayDay, saySentence, sayTime } from "./words.js";

const EVENT_KINDS = ["alarm", "cleared", "aborted", "action", "message", "contact", "relay", "block", "speed"];
const EVENT_SIGNS = { block: ["●", "up"], aborted: ["✕", "cut"], alarm: ["▲", "alarm"], cleared: ["✓", "up"], contact: ["◆", "idle"], relay: ["⇄", "idle"], message: ["✉", "up"], action: ["➤", "idle"], speed: ["»", "idle"] };
const AUDIT_KINDS = ["link", "supply", "operator"];
const AUDIT_LINES = 100;

const chip = (label, pressed, onclick) => h("button", { type: "button", "aria-pressed": String(pressed), onclick }, label);
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

function livePart() {
  const none = h("p", { class: "empty" }, say("journal_empty"));
  const list = h("ol", { class: "journal" });
  // Blocks come by the second: whoever wants to see them turns them on.
  const shown = new Set(EVENT_KINDS.filter((kind) => kind !== "block"));
  const filter = h("input", { class: "filter", type: "search", placeholder: say("search_text"), "aria-label": say("search_text"), oninput: () => update() });
  const filters = h("div", { class: "filters", role: "group", "aria-label": say("event_kinds") }, ...EVENT_KINDS.map((kind) => chip(say(`event_${kind}`), shown.has(kind), (event) => {
    if (!shown.delete(kind)) shown.add(kind);
    event.currentTarget.setAttribute("aria-pressed", String(shown.has(kind)));
    update();
  })));
  const textOf = (event) => `${event.what} ${saySentence(event.what)} ${event.link ?? ""} ${event.node ?? ""}`.toLowerCase();
  function update() {
    const wanted = filter.value.trim().toLowerCase();
    const events = state.events.filter((event) => shown.has(event.kind) && (!wanted || textOf(event).includes(wanted))).slice(0, 200);
    none.hidden = events.length > 0;
    write(none, say(state.events.length ? "audit_none" : "journal_empty"));
    follow(list, events, (event) => event.id, (event) => {
      const [sign, tone] = EVENT_SIGNS[event.kind] ?? ["·", "idle"];
      return h("li", {}, h("span", { class: `glyph ${tone}`, title: say(`event_${event.kind}`) }, sign), h("time", { datetime: event.time }, sayTime(event.time)), h("span", { class: "what" }, saySentence(event.what)));
    }, () => {});
  }
  return { element: h("div", {}, filter, filters, none, list), update };
}

const labelled = (key, field) => h("label", {}, say(key), field);
const moment = (field) => (field.value ? { [field.name]: `${field.value.length === 16 ? `${field.value}:00` : field.value}Z` } : {});
// A stock is "link PEER own" or "supply MASTER SLAVE role size": without its first word, which stands beside it as the kind.
const stockOf = (line) => line.stock.split(" ").slice(1).join(" ");

function auditLine(line) {
  const step = line.kind === "operator" ? line.what : `${line.before || say("entered")} → ${line.after} · ${sayBits(line.bit)}`;
  return h("li", {}, h("div", { class: "audit-head" }, h("strong", {}, nameOf(line.node)), h("time", { datetime: line.time, title: line.time }, `${sayDay(line.time)} ${sayTime(line.time)}`)),
    h("div", { class: "what" }, `${say(AUDIT_KINDS.includes(line.kind) ? `audit_${line.kind}` : line.kind)}: ${stockOf(line)}`), h("div", { class: "what soft" }, step),
    h("div", { class: "mono soft", title: line.digest }, `${line.chain} ${line.page} · ${line.digest.slice(0, 12)}…${line.kind === "operator" || !line.what ? "" : ` · ${line.what}`}`));
}

function auditPart(tryOut) {
  const node = h("select", { name: "node" });
  const kind = h("select", { name: "kind" });
  followOptions(kind, [["", say("all")], ...AUDIT_KINDS.map((one) => [one, say(`audit_${one}`)])]);
  const since = h("input", { name: "since", type: "datetime-local", step: 1 });
  const until = h("input", { name: "until", type: "datetime-local", step: 1 });
  const text = h("input", { name: "text", type: "search", maxLength: 200 });
  const found = h("p", { class: "more", role: "status" });
  const broken = h("p", { class: "note bad", role: "alert", hidden: true });
  const list = h("ol", { class: "journal audit" });
  const more = h("button", { type: "button", hidden: true }, say("audit_more"));
  const search = h("button", { class: "main", type: "submit" }, say("audit_search"));
  let last = null;
  let asked = 0; // searches so far: only the answer to the last one is shown
  async function look(older) {
    const wanted = { limit: AUDIT_LINES, ...moment(since), ...(older ? { until: older } : moment(until)) };
    for (const field of [node, kind, text]) if (field.value) wanted[field.name] = field.value;
    asked += 1;
    const number = asked;
    const view = await tryOut(() => askAudit(wanted));
    if (!view || number !== asked) return;
    if (!older) list.replaceChildren();
    // Lines of the very moment at which the last search ended come again.
    const known = new Set(older ? [...list.children].map((item) => item.key) : []);
    for (const line of view.lines) {
      const key = JSON.stringify(line);
      if (known.has(key)) continue;
      const item = auditLine(line);
      item.key = key;
      list.append(item);
    }
    last = view.lines.at(-1)?.time || view.looked_back_to;
    more.hidden = !view.more || !last || last === older;
    write(found, `${list.children.length ? "" : `${say("audit_none")} `}${view.broken.length ? "" : say("audit_pages", { n: inThousands(view.pages) })}`);
    broken.hidden = !view.broken.length;
    write(broken, view.broken.length ? say("audit_broken", { x: view.broken.slice(0, 3).join("; ") }) : "");
  }
  more.addEventListener("click", () => look(last));
  const form = h("form", { class: "try", onsubmit: (event) => { event.preventDefault(); look(null); } },
    h("div", { class: "two" }, labelled("audit_node", node), labelled("audit_kind", kind), labelled("audit_since", since), labelled("audit_until", until)),
    h("div", { class: "with" }, labelled("audit_text", text), search));
  return {
    element: h("div", {}, h("p", { class: "note" }, say("audit_help")), form, broken, found, list, more),
    update() { if (state.network) followOptions(node, [["", say("all_nodes")], ...state.network.nodes.filter((one) => one.kind !== "satellite").map((one) => [one.name, nameOf(one.name)])]); },
  };
}

export function journalTab(tryOut) {
  const parts = { live: livePart(), audit: auditPart(tryOut) };
  const body = h("div");
  const choose = h("div", { class: "filters choice", role: "group", "aria-label": say("tab_journal") }, ...Object.keys(parts).map((name) => chip(say(name), name === "live", (event) => {
    for (const button of choose.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
    body.replaceChildren(parts[name].element);
    update();
  })));
  const update = () => parts[Object.keys(parts)[[...choose.children].findIndex(isPressed)]].update();
  body.append(parts.live.element);
  return { element: h("div", {}, choose, body), update };
}
