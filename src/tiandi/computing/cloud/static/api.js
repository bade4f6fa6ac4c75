// The cloud's own API, as anybody with a key has it; this page has a session instead, in a cookie that no script reads.
export class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function ask(method, path, body) {
  const headers = method === "GET" ? {} : { "X-Tiandi": "1", "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, null);
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, told.detail ?? answer.statusText);
  return told;
}

export const get = (path) => ask("GET", `/api/v1${path}`);
export const post = (path, body) => ask("POST", `/api/v1${path}`, body);
