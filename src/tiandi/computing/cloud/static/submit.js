// The form that submits a job.
import { post } from "./api.js";
import { h, refill } from "./dom.js";
import { say, sayNumber } from "./words.js";

const EXAMPLES = {
  QCIS: "H Q0\nH Q1\nCZ Q0 Q1\nH Q1\nM Q0\nM Q1\n",
  OpenQASM: 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n',
  Photonic: '{"sampler": "squashed", "totals": true}\n',
  OriginIR: "QINIT 2\nCREG 2\nH q[0]\nCNOT q[0],q[1]\nMEASURE q[0],c[0]\nMEASURE q[1],c[1]\n",
};
// What was typed outlives a change of the language or machine.
const fresh = () => ({ program: EXAMPLES.QCIS, shots: "1000", name: "", priority: "5", compile: true });
let typed = fresh();
export function forgetTyped() { typed = fresh(); }

export function showSubmit(section, { machines, machine, onMachine, onJob }) {
  const program = h("textarea", { name: "program", rows: 10, spellcheck: "false", autocapitalize: "off", required: true, oninput: () => { typed.program = program.value; } });
  program.value = typed.program;
  const field = (name, given) => {
    const input = h("input", { name, ...given, oninput: () => { typed[name] = input.value; } });
    input.value = typed[name];
    return input;
  };
  const shots = field("shots", { type: "number", min: 1, max: 1000000, required: true });
  const name = field("name", { type: "text", maxlength: 200, autocomplete: "off" });
  const priority = field("priority", { type: "number", min: 0, max: 9, required: true });
  const compile = h("input", { type: "checkbox", name: "compile", onchange: () => { typed.compile = compile.checked; } });
  compile.checked = typed.compile;
  const choice = h("select", { name: "machine", "data-key": "machine", onchange: () => onMachine(choice.value) }, machines.map((one) => h("option", { value: one.name, selected: one.name === machine?.name }, one.facts.title ?? one.name)));
  const said = h("p", { class: "said", role: "alert", hidden: true });
  const example = (language) => h("button", { type: "button", class: "small", onclick: () => { program.value = typed.program = EXAMPLES[language]; } }, language);

  const submission = () => ({
    machine: choice.value, programs: [program.value], shots: Number(shots.value), priority: Number(priority.value), name: name.value, compile: compile.checked,
  });
  const tell = (text, isBad) => { said.hidden = false; said.classList.toggle("bad", isBad); said.textContent = text; };
  async function send(path, done) {
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((button) => { button.disabled = true; });
    said.hidden = true;
    try {
      done(await post(path, submission()));
    } catch (error) {
      tell(error.message || say("no_answer"), true);
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  }
  const check = () => form.reportValidity() && send("/check", ({ measured }) => tell(say("would_be_accepted", { qubits: measured[0].join(", ") }), false));
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); send("/jobs", onJob); } },
    h("label", {}, say("machine"), choice),
    h("label", {}, say("program"), program),
    h("div", { class: "examples" }, h("span", { class: "soft" }, say("examples")), Object.keys(EXAMPLES).map(example)),
    h("label", { class: "check" }, compile, h("span", {}, say("compile"), h("small", { class: "soft" }, say("compile_why")))),
    h("div", { class: "three" }, h("label", {}, say("shots"), shots), h("label", {}, say("priority"), priority), h("label", {}, say("name"), name)),
    h("div", { class: "buttons" }, h("button", { class: "main" }, say("submit")), h("button", { type: "button", onclick: check }, say("check"))),
    said,
    machine ? h("p", { class: "soft limits" }, say("limits"), h("br"), machine.limits.flatMap((limit, i) => [i ? h("br") : null, limitOf(limit)])) : null);
  refill(section, h("h2", {}, say("submit_a_job")), form);
}

function limitOf({ circuits, shots, measured }) {
  return say(measured === null ? "limit_all" : "limit", { circuits: sayNumber(circuits), shots: sayNumber(shots), measured });
}
