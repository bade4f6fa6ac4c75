// What the page knows, and who wants to hear of changes.
export const state = {
  network: null,
  events: [],
  selection: null, // {kind: "link" | "node" | "pair" | "satellite", name}; a pair's name is its two ends
  details: null,
  role: null,
  tab: "network",
};

const EVENTS_KEPT = 500;
const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);
export const changed = (what) => { for (const listener of listeners) listener(what); };

export function addEvent(event) {
  if (state.events.some((known) => known.id === event.id)) return;
  state.events.unshift(event);
  state.events.length = Math.min(state.events.length, EVENTS_KEPT);
}

export function select(kind, name) {
  state.selection = kind ? { kind, name } : null;
  state.details = null;
  changed("selection");
}

// Only an operator may act; who else looks sees what could be done, but cannot press it.
export const mayAct = () => state.role === "operator";

export const isSelected = (kind, name) => state.selection?.kind === kind && String(state.selection.name) === String(name);

const WORST = ["cut", "alarm", "eavesdropped", "up", "idle"];
// Links between the same ends as one hop: its systems, its worst state and the sum of its rates.
export function hopsOf(network) {
  const hops = new Map();
  for (const link of network.links) {
    const key = [...link.ends].sort().join("\n");
    const hop = hops.get(key) ?? { key, ends: link.ends, kind: link.kind, links: [], rate_bps: 0, state: "idle" };
    hop.links.push(link);
    hop.rate_bps += link.rate_bps;
    if (WORST.indexOf(link.state) < WORST.indexOf(hop.state)) hop.state = link.state;
    hops.set(key, hop);
  }
  return [...hops.values()];
}
