// The API of the page: see /api/openapi.json.

const path = (parts) => `/api/v1/${parts.map(encodeURIComponent).join("/")}`;

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function read(answer) {
  const text = await answer.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { body = null; }
  if (answer.ok) return body;
  throw new Refused(answer.status, body?.message ?? body?.detail ?? `${answer.status} ${answer.statusText}`);
}

export const ask = async (...parts) => read(await fetch(path(parts)));
export const post = async (address, body = {}) => read(await fetch(address, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Tiandi": "1" }, body: JSON.stringify(body),
}));
export const act = (parts, body) => post(path(parts), body);

// The one-time link of the address bar is exchanged for a cookie, and taken out of the address bar and its history first.
export async function logIn() {
  const found = /^#(?:login=)?([\w.~-]{8,})$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  await post("/login", { token: found[1] });
}

export const askJournal = async () => read(await fetch("/api/v1/journal?limit=200"));

export function listen({ network, event, lost, connected }) {
  const stream = new EventSource("/api/v1/events");
  stream.addEventListener("network", (message) => network(JSON.parse(message.data)));
  stream.addEventListener("event", (message) => event(JSON.parse(message.data)));
  stream.addEventListener("lost", (message) => lost(JSON.parse(message.data).events));
  stream.onopen = () => connected(true);
  stream.onerror = () => {
    connected(false);
    // A refusal ends the stream for good; a new one is tried after a while, when somebody may have logged in elsewhere.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => listen({ network, event, lost, connected }), 5000);
  };
  return stream;
}

export const askAudit = async (wanted) => read(await fetch(`/api/v1/audit?${new URLSearchParams(wanted)}`));
export const eavesdrop = (link, on) => act(["links", link, "eavesdropper"], { on });
