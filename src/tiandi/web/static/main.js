// The page: it puts the parts together, and passes on what the network tells.
import { Refused, act, ask, askJournal, listen, logIn } from "./api.js";
import { RATE_HIGH, RATE_LOW, SIGNS, isDark, rateColour } from "./colours.js";
import { makeDetails } from "./details.js";
import { h, write } from "./dom.js";
import { journalTab } from "./journal.js";
import { alarmsTab, countUnseen, networkTab, skyTab } from "./lists.js";
import { addEvent, changed, onChange, state } from "./state.js";
import { makeTime } from "./time.js";
import { tryTab } from "./try.js";
import { firstLanguage, inThousands, loadWords, nextLanguage, say, sayBits, sayRate, saySentence } from "./words.js";

const TABS = ["network", "sky", "try", "alarms", "journal"];
const BANNER_MS = 6000;
const at = (id) => document.getElementById(id);
const lite = new URLSearchParams(location.search).has("lite");
let globe = null;
let parts = null;
let hideBanner = 0;
let noGlobe = false; // whether this browser cannot draw one
let asked = false; // whether it is known who looks

function tell(text, { bad = false, stays = false } = {}) {
  const banner = at("banner");
  write(banner, text);
  banner.classList.toggle("bad", bad);
  banner.hidden = !text;
  clearTimeout(hideBanner);
  if (text && !stays) hideBanner = setTimeout(() => { banner.hidden = true; }, BANNER_MS);
}

// An action: its answer, or a word on why there is none.
async function tryOut(run) {
  try {
    const answer = await run();
    if (answer?.nodes && answer?.totals) showNetwork(answer);
    return answer;
  } catch (error) {
    const word = error instanceof Refused && error.status === 401 ? say("no_leave") : error instanceof Refused && error.status === 403 ? say("viewer_only") : `${say("refused")}: ${saySentence(error.message)}`;
    tell(word, { bad: true });
    return null;
  }
}

function makeHead() {
  const values = ["secret", "delivered", "keys", "messages"].map((key) => [key, h("dd", { class: "number" })]);
  const title = h("span", { class: "title" });
  const role = h("span", { class: "chip", title: say("viewer_help"), hidden: true }, say("viewer"));
  at("head").replaceChildren(
    h("h1", {}, h("span", { class: "mark", lang: "zh" }, "天地"), h("span", {}, "tiandi"), title), role,
    h("dl", { class: "totals" }, ...values.map(([key, value]) => h("div", {}, h("dt", {}, say(key)), value))),
    h("div", { class: "choices" },
      h("button", { type: "button", id: "language", lang: say("other_language") === "中文" ? "zh" : "en", onclick: async () => {
        localStorage.setItem("tiandi-language", nextLanguage());
        await loadWords(nextLanguage());
        build();
      } }, say("other_language")),
      h("button", { type: "button", id: "scheme", title: say("scheme"), "aria-label": say("scheme"), onclick: () => setScheme(isDark() ? "light" : "dark") }, "◐")),
  );
  return () => {
    const { network } = state;
    if (!network) return;
    const { totals } = network;
    [sayBits(totals.secret_bit), sayBits(totals.delivered_bit), inThousands(totals.keys), inThousands(totals.messages)].forEach((text, i) => write(values[i][1], text));
    write(title, network.title);
    title.title = network.title;
    role.hidden = state.role !== "viewer";
    document.title = `${countUnseen() ? `(${countUnseen()}) ` : ""}${network.name} · tiandi`;
  };
}

function makeSide(jump) {
  const acknowledge = (id) => tryOut(() => act(["alarms", String(id), "acknowledge"]));
  const tabs = { network: networkTab(), sky: skyTab(jump), try: tryTab(tryOut), alarms: alarmsTab(acknowledge), journal: journalTab(tryOut) };
  const badge = h("span", { class: "badge", hidden: true });
  const buttons = TABS.map((name) => h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "tab-body", onclick: () => open(name) }, say(`tab_${name}`), name === "alarms" ? badge : null));
  const body = h("div", { class: "tab-body", id: "tab-body", role: "tabpanel", tabindex: "0" });
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": say("tabs"), onkeydown: (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    open(TABS[(TABS.indexOf(state.tab) + step + TABS.length) % TABS.length]);
    buttons[TABS.indexOf(state.tab)].focus();
  } }, ...buttons);
  at("side").replaceChildren(list, body);
  function open(name) {
    state.tab = name;
    buttons.forEach((button, i) => { button.setAttribute("aria-selected", String(TABS[i] === name)); button.tabIndex = TABS[i] === name ? 0 : -1; });
    body.setAttribute("aria-labelledby", `tab-${name}`);
    body.replaceChildren(tabs[name].element);
    body.scrollTop = 0;
    tabs[name].update();
  }
  open(state.tab);
  return () => {
    badge.hidden = !countUnseen();
    write(badge, countUnseen());
    tabs[state.tab].update();
  };
}

function makeLegend() {
  const scale = h("canvas", { width: 132, height: 7, "aria-hidden": "true" });
  const states = ["up", "idle", "eavesdropped", "alarm", "cut"];
  at("legend").replaceChildren(
    h("div", { class: "scale number" }, sayRate(RATE_LOW), scale, h("span", { title: say("rate_scale") }, sayRate(RATE_HIGH))),
    h("ul", {}, ...states.map((name) => h("li", {}, h("span", { class: name, "aria-hidden": "true" }, SIGNS[name]), say(name)))),
  );
  const paint = () => {
    const pen = scale.getContext("2d");
    for (let x = 0; x < 132; x += 1) {
      pen.fillStyle = rateColour(RATE_LOW * (RATE_HIGH / RATE_LOW) ** (x / 131));
      pen.fillRect(x, 0, 1, 7);
    }
  };
  paint();
  const button = (key, sign, onclick) => h("button", { type: "button", title: say(key), "aria-label": say(key), onclick }, sign);
  at("view-buttons").replaceChildren(button("zoom_in", "+", () => globe?.zoom(0.75)), button("zoom_out", "−", () => globe?.zoom(1.33)), button("whole", "⤢", () => globe?.showWhole()));
  at("overlay").setAttribute("aria-label", say("globe_help"));
  return paint;
}

function setScheme(scheme) {
  localStorage.setItem("tiandi-scheme", scheme);
  document.documentElement.dataset.scheme = scheme;
  recolour();
}

function recolour() {
  globe?.recolour();
  parts?.paintLegend();
  parts?.details.redraw();
}

// All that carries words is built anew when the language changes; what is known, chosen and drawn stays.
function build() {
  const time = makeTime(at("time"), tryOut);
  parts = { head: makeHead(), side: makeSide(time.jump), time, details: makeDetails(at("detail"), tryOut), paintLegend: makeLegend() };
  parts.details.show();
  update();
  globe?.ask();
}

function update() {
  parts.head();
  parts.side();
  parts.time.update();
  const { network } = state;
  const placed = network?.nodes.some((node) => node.latitude_deg !== null && node.longitude_deg !== null);
  const note = !network ? (state.role === null && asked ? "log_in_note" : "loading") : !network.nodes.length ? "empty_network" : !placed ? "no_places" : noGlobe ? "no_globe" : "";
  at("stage-note").hidden = !note;
  write(at("stage-note"), note ? say(note) : "");
}

function showNetwork(network) {
  state.network = network;
  changed("network");
}

let waiting = false;
onChange((what) => {
  if (what === "selection") { parts.details.show(); globe?.resize(); globe?.lookAt(state.selection); }
  if (what === "network") { globe?.show(state.network); parts.details.refresh(); }
  if (what !== "event") update();
  else if (!waiting) {
    waiting = true;
    setTimeout(() => { waiting = false; update(); }, 200);
  }
  globe?.ask();
});

async function startGlobe(built) {
  try {
    const { Globe } = await import("./globe.js");
    const made = new Globe(at("stage"), { lite });
    await made.start();
    globe = made;
    if (state.network) globe.show(state.network);
  } catch (error) {
    // Without WebGL the lists still tell everything.
    noGlobe = true;
    await built;
    tell(`${say("no_globe")} ${error.message ?? ""}`, { bad: true });
  }
  await built;
  update();
}

async function start() {
  const scheme = localStorage.getItem("tiandi-scheme");
  if (scheme) document.documentElement.dataset.scheme = scheme;
  const built = loadWords(firstLanguage()).then(build);
  const drawn = startGlobe(built); // Meanwhile the Earth is made.
  await built;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && state.selection) at("detail").querySelector(".close").click(); });
  await tryOut(logIn);
  state.role = (await ask("session").catch(() => null))?.role ?? null;
  // What is not in the first picture may wait for it.
  const network = state.role ? await ask("network").catch(() => null) : null;
  asked = true;
  build(); // What may be pressed depends on who looks.
  if (!state.role) tell(say("no_leave"), { bad: true, stays: true });
  if (network) showNetwork(network);
  await drawn;
  globe?.begin();
  document.documentElement.dataset.ready = "true";
  for (const event of [...(await askJournal().catch(() => []))].reverse()) addEvent(event);
  changed("event");
  let connected = true;
  listen({
    network: showNetwork,
    event: (event) => { addEvent(event); changed("event"); },
    lost: (n) => tell(say("events_lost", { n })),
    connected: (now) => {
      if (now && !connected) tell("");
      if (!now && connected && state.role) tell(say("lost"), { bad: true, stays: true });
      connected = now;
    },
  });
}

start();
