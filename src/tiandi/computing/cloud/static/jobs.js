// Own jobs as they change, and what came of them.
import { get, post } from "./api.js";
import { clickPictures } from "./clicks.js";
import { h, refill } from "./dom.js";
import { facts } from "./map.js";
import { language, say, sayDuration, sayNumber, sayShare, sayState, sayTime } from "./words.js";

const SIGNS = { queued: "○", running: "◐", completed: "●", failed: "▲", cancelled: "✕" };
const SHOWN_JOBS = 100;
const SHOWN_OUTCOMES = 16;
const MOST_LISTED = 14;
const jobs = new Map();
let chosen = null;
let circuit = 0;
let opened = null;

export function forgetJobs() { jobs.clear(); chosen = opened = null; }
export function takeJob(job) {
  // Of two views of a job the later has the greater number.
  if ((jobs.get(job.id)?.change ?? -1) <= job.change) jobs.set(job.id, job);
}
export function chooseJob(id) {
  if (chosen !== id) { chosen = id; circuit = 0; opened = null; }
}

export function showJobs(section, machines) {
  const again = () => showJobs(section, machines);
  const job = jobs.get(chosen);
  if (job === undefined) { showList(section, machines, again); return; }
  if (opened?.id !== job.id) { opened = { id: job.id }; fetchPrograms(job, again); }
  if (job.state === "completed" && opened.circuit !== circuit) { opened.circuit = circuit; fetchResult(job, machines, again); }
  showOne(section, job, machines, again);
}

function showList(section, machines, again) {
  const list = [...jobs.values()].sort((one, other) => other.change - one.change).slice(0, SHOWN_JOBS);
  refill(section, h("h2", {}, say("own_jobs")),
    list.length ? h("ul", { class: "rows" }, list.map((job) => h("li", {}, row(job, machines, again)))) : h("p", { class: "empty" }, say("no_jobs")));
}

const row = (job, machines, again) => h("button", { class: "row", "data-key": job.id, "data-job": job.id, onclick: () => { chooseJob(job.id); again(); } },
  h("span", { class: `sign ${job.state}`, "aria-hidden": "true" }, SIGNS[job.state]),
  h("span", { class: "name" }, job.name || job.id.slice(0, 8)),
  h("span", { class: `state ${job.state}` }, sayState(job.state)),
  h("span", { class: "under" }, `${machines[job.machine]?.title ?? job.machine}, ${say("n_shots", { n: sayNumber(job.shots) })}, ${sayTime(job.submitted)}`));

function showOne(section, job, machines, again) {
  const back = h("button", { class: "small", "data-key": "back", onclick: () => { chooseJob(null); again(); } }, `← ${say("all_jobs")}`);
  const isOpen = job.state === "queued" || job.state === "running";
  const cancel = async () => {
    try { takeJob(await post(`/jobs/${job.id}/cancel`)); } catch (error) { opened.said = error.message; }
    again();
  };
  refill(section, h("div", { class: "top" }, back, isOpen ? h("button", { "data-key": "cancel", onclick: cancel }, say("cancel")) : null),
    h("h2", {}, job.name || say("job_n", { n: job.id.slice(0, 8) })),
    h("p", { class: `state ${job.state}`, role: "status" }, `${SIGNS[job.state]} ${sayState(job.state)}`),
    job.reason ? h("p", { class: "said bad" }, job.reason) : null,
    opened?.said ? h("p", { class: "said bad", role: "alert" }, opened.said) : null,
    opened && job.state === "completed" ? results(job, again) : null,
    facts([
      [say("machine"), machines[job.machine]?.title ?? job.machine],
      [say("shots"), sayNumber(job.shots)],
      [say("circuits"), sayNumber(job.circuits)],
      [say("priority"), String(job.priority)],
      [say("submitted"), sayTime(job.submitted)],
      ...(job.ended ? [[say("ended"), sayTime(job.ended)]] : []),
      ...(job.busy_s === null ? [] : [[say("took"), sayDuration(job.busy_s)]]),
      [say("identifier"), job.id],
    ]),
    opened?.programs ? h("details", {}, h("summary", { "data-key": "program" }, say("program")), h("pre", { tabindex: "0", "aria-label": say("program") }, opened.programs[circuit])) : null);
}

async function fetchPrograms(job, again) {
  const mine = opened;
  try { mine.programs = (await get(`/jobs/${job.id}/programs`)).programs; } catch (error) { mine.said = error.message; }
  if (mine === opened) again();
}

// Of a photonic job totals and correlations, and of one with few modes, as of all other jobs, each outcome.
async function fetchResult(job, machines, again) {
  const mine = opened;
  const asked = circuit;
  const isStill = () => mine === opened && asked === circuit;
  const fetched = async (what) => {
    const told = await get(`/jobs/${job.id}/${what}?first=${asked}`);
    return isStill() ? told : null;
  };
  try {
    if (machines[job.machine]?.kind === "photonic") {
      Object.assign(mine, { isWorking: true, result: null, clicks: null });
      mine.clicks = await fetched("clicks");
    }
  } catch (error) { mine.said = error.message; }
  if (!isStill()) return;
  mine.isWorking = false;
  if (mine.clicks) again();
  if (mine.clicks?.modes.length > MOST_LISTED) return;
  try { mine.result = (await fetched("results"))?.results[0] ?? null; } catch (error) { mine.said = error.message; }
  if (isStill()) again();
}

function results(job, again) {
  const { result, clicks, isWorking } = opened;
  if (!result && !clicks && !isWorking) return null;
  const choice = h("select", { "data-key": "circuit", onchange: () => { circuit = Number(choice.value); again(); } },
    Array.from({ length: job.circuits }, (_, i) => h("option", { value: i, selected: i === circuit }, `${i + 1}`)));
  const { engine, why } = result ?? clicks ?? {};
  return h("div", { class: "result" },
    job.circuits > 1 ? h("label", { class: "inline" }, say("circuit"), choice) : null,
    isWorking ? h("p", { class: "soft", role: "status" }, say("working_out")) : null,
    result ? outcomes(result) : null,
    clicks ? pictures(clicks) : null,
    engine ? h("p", { class: "engine" }, h("strong", {}, say("engine", { engine })), ` ${why}`) : null);
}

// Drawn once for each language: what is open in it stays so when other jobs change.
function pictures(clicks) {
  if (opened.drawn?.clicks !== clicks || opened.drawn.language !== language) opened.drawn = { clicks, language, node: clickPictures(clicks) };
  return opened.drawn.node;
}

function outcomes(told) {
  const sorted = Object.entries(told.counts).sort(([one, n], [other, m]) => m - n || (one < other ? -1 : 1));
  const top = sorted.slice(0, SHOWN_OUTCOMES);
  const rest = sorted.slice(SHOWN_OUTCOMES);
  const most = top[0][1];
  const left = rest.reduce((sum, [, count]) => sum + count, 0);
  return [
    h("table", { class: told.qubits.length > MOST_LISTED ? "histogram wide" : "histogram" },
      h("caption", {}, say("outcomes_of", { n: sayNumber(told.shots) })),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("outcome")), h("th", { scope: "col" }, say("count")))),
      h("tbody", {}, top.map(([bits, count]) => bar(bits, count, count / told.shots, count / most)))),
    rest.length ? h("p", { class: "soft" }, say("others", { n: sayNumber(rest.length), shots: sayNumber(left), share: sayShare(left / told.shots) })) : null,
    told.qubits.every((qubit) => qubit < 0) ? null : h("p", { class: "soft" }, say("bits_from", { qubits: told.qubits.join(", ") })),
  ];
}

function bar(bits, count, share, length) {
  const filled = h("i", { class: "bar" });
  filled.style.width = `${100 * length}%`;
  return h("tr", {}, h("th", { scope: "row" }, h("code", {}, bits)), h("td", {}, filled, h("span", {}, `${sayNumber(count)} (${sayShare(share)})`)));
}
