// What the page consists of, who is logged in, and the stream of changes.
import { ask, get } from "./api.js";
import { h, refill } from "./dom.js";
import { chooseJob, forgetJobs, showJobs, takeJob } from "./jobs.js";
import { showMap, sizeOf } from "./map.js";
import { forgetTyped, showSubmit } from "./submit.js";
import { firstLanguage, language, loadWords, nextLanguage, say, sayNumber } from "./words.js";

const at = (id) => document.getElementById(id);
const state = { user: null, machines: [], machine: null, calibrations: new Map(), view: "machines" };
let stream = null;
let asking = null;

async function start() {
  document.documentElement.dataset.scheme = localStorage.getItem("tiandi-scheme") ?? "";
  await loadWords(firstLanguage());
  const { user } = await ask("GET", "/session");
  if (user === null) showLogin();
  else await enter();
  document.documentElement.dataset.ready = "";
}

function showLogin(why = "") {
  stream?.close();
  stream = null;
  forgetJobs();
  Object.assign(state, { user: null, machines: [], machine: null });
  state.calibrations.clear();
  // Nothing of whoever was here is left for who comes next.
  for (const id of ["list", "map", "submit", "jobs"]) refill(at(id));
  forgetTyped();
  drawHead();
  const key = h("input", { type: "password", name: "key", autocomplete: "off", required: true, maxlength: 200, spellcheck: "false" });
  const said = h("p", { class: "said bad", role: "alert", hidden: !why }, why);
  const send = async (event) => {
    event.preventDefault();
    said.hidden = true;
    try {
      await ask("POST", "/session", { key: key.value });
      key.value = "";
      await enter();
    } catch (error) {
      said.hidden = false;
      said.textContent = error.status === 401 ? say("wrong_key") : error.message || say("no_answer");
      key.select();
    }
  };
  refill(at("login"), h("form", { onsubmit: send },
    h("h2", {}, say("log_in")), h("p", { class: "soft" }, say("log_in_how")),
    h("label", {}, say("api_key"), key), h("button", { class: "main" }, say("log_in")), said));
  at("main").hidden = true;
  at("login").hidden = false;
  key.focus();
}

async function enter() {
  follow();
  const [user, { machines }, { jobs }] = await Promise.all([get("/user"), get("/machines"), get("/jobs?limit=100")]);
  jobs.forEach(takeJob);
  Object.assign(state, { user, machines, machine: machines[0] ?? null });
  at("login").hidden = true;
  at("main").hidden = false;
  await loadCalibration();
  draw();
}

// Every change of an own job as it happens; the browser comes back by itself with the number of the last it heard of.
function follow() {
  stream = new EventSource("/api/v1/events");
  stream.addEventListener("job", (event) => {
    takeJob(JSON.parse(event.data));
    drawJobs();
    asking ??= setTimeout(askUser, 500);
  });
  stream.addEventListener("open", () => { at("banner").hidden = true; });
  stream.addEventListener("error", async () => {
    const { user } = await ask("GET", "/session").catch(() => ({ user: undefined }));
    if (state.user === null) return;
    if (user === null) { showLogin(say("session_ended")); return; }
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (state.user !== null) { stream.close(); follow(); } }, 3000);
    if (user === undefined) { at("banner").hidden = false; at("banner").textContent = say("no_connection"); }
  });
}

async function askUser() {
  asking = null;
  try { state.user = await get("/user"); drawHead(); } catch { /* The stream tells when the cloud is gone. */ }
}

async function loadCalibration() {
  const name = state.machine?.name;
  if (name !== undefined && !state.calibrations.has(name)) state.calibrations.set(name, await get(`/machines/${encodeURIComponent(name)}/calibration`));
}

async function chooseMachine(name) {
  state.machine = state.machines.find((machine) => machine.name === name);
  try {
    await loadCalibration();
  } catch (error) {
    at("banner").hidden = false;
    at("banner").textContent = error.message || say("no_answer");
  }
  draw();
}

function setView(view) { state.view = view; drawViews(); }

async function changeLanguage() {
  await loadWords(nextLanguage());
  localStorage.setItem("tiandi-language", language);
  if (state.user === null) showLogin(); else draw();
}

function changeScheme() {
  const root = document.documentElement;
  const isDark = (root.dataset.scheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.scheme = isDark ? "light" : "dark";
  localStorage.setItem("tiandi-scheme", root.dataset.scheme);
}

async function logOut() {
  await ask("DELETE", "/session");
  showLogin();
}

function drawHead() {
  const { user } = state;
  const totals = user === null ? [] : [
    ["waiting", `${sayNumber(user.waiting)} / ${sayNumber(user.quotas.most_waiting)}`], ["running", sayNumber(user.running)],
    ["shots_today", `${sayNumber(user.shots_today)} / ${sayNumber(user.quotas.shots_a_day)}`],
  ];
  document.title = `tiandi: ${say("title")}`;
  refill(at("head"),
    h("h1", {}, h("span", { class: "mark" }, "天地"), h("span", { class: "title" }, say("title"))),
    h("dl", { class: "totals" }, totals.map(([name, value]) => h("div", {}, h("dt", {}, say(name)), h("dd", {}, value)))),
    h("div", { class: "choices" },
      user === null ? null : h("span", { class: "user soft" }, user.name),
      h("button", { "data-key": "language", lang: language === "en" ? "zh-CN" : "en", onclick: changeLanguage }, say("other_language")),
      h("button", { "data-key": "scheme", "aria-label": say("scheme"), title: say("scheme"), onclick: changeScheme }, "◐"),
      user === null ? null : h("button", { "data-key": "log-out", onclick: logOut }, say("log_out"))));
}

function drawViews() {
  document.body.dataset.view = state.view;
  refill(at("views"), ["machines", "submit", "jobs"].map((view) => {
    // Where there is room the machines are always there, and jobs are what is beside them until something is to be submitted.
    const isShown = view === state.view || (view === "jobs" && state.view === "machines" && innerWidth > 900);
    return h("button", { "data-key": view, class: view, "aria-pressed": String(isShown), onclick: () => setView(view) }, say(`view_${view}`));
  }));
}

function drawList() {
  refill(at("list"), h("h2", {}, say("view_machines")), h("ul", { class: "rows" }, state.machines.map((machine) => h("li", {},
    h("button", { class: "row machine", "data-key": machine.name, "aria-pressed": String(machine === state.machine), onclick: () => chooseMachine(machine.name) },
      h("span", { class: "name" }, machine.facts.title ?? machine.name), h("span", { class: "under" }, sizeOf(machine.facts)))))));
}

function drawJobs() {
  showJobs(at("jobs"), Object.fromEntries(state.machines.map((machine) => [machine.name, machine.facts])));
}

function draw() {
  drawHead();
  drawViews();
  drawList();
  if (state.machine !== null) showMap(at("map"), state.machine, state.calibrations.get(state.machine.name));
  drawSubmit();
  drawJobs();
}

function drawSubmit() {
  showSubmit(at("submit"), {
    machines: state.machines,
    machine: state.machine,
    onMachine: chooseMachine,
    onJob: (job) => { takeJob(job); chooseJob(job.id); setView("jobs"); drawJobs(); at("views").querySelector(".jobs").focus(); },
  });
}

matchMedia("(max-width: 900px)").addEventListener("change", drawViews);
start();
