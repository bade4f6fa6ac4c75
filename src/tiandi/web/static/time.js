// Time: what it is in the simulated network, how fast it runs, whether it stands still, and where to jump to.
import { act } from "./api.js";
import { h, write } from "./dom.js";
import { say, sayDay, sayTime } from "./words.js";
import { mayAct, state } from "./state.js";

const SPEEDS = [1, 10, 60, 600];
const BEHIND = 0.8;

export function makeTime(element, tryOut) {
  const clock = h("span");
  const day = h("small", { class: "number" });
  const pause = h("button", { type: "button", id: "pause", onclick: () => tryOut(() => act(["time"], { paused: !state.network?.paused })) });
  const speeds = h("div", { class: "speeds", role: "group", "aria-label": say("speed") },
    ...SPEEDS.map((speed) => h("button", { type: "button", "data-speed": String(speed), onclick: () => tryOut(() => act(["time"], { speed })) }, `${speed}×`)));
  const jump = (to) => tryOut(() => act(["time"], { jump: to }));
  const next = h("button", { type: "button", id: "next-pass", onclick: () => jump("next pass") }, `${say("next_pass")} ⇥`);
  const when = h("input", { type: "datetime-local", step: 1, "aria-label": say("jump_to") });
  const go = h("button", { type: "button", onclick: () => { if (when.value) jump(`${when.value.length === 16 ? `${when.value}:00` : when.value}Z`); } }, say("jump"));
  const pace = h("span");
  const fidelity = h("span", { class: "chip" });
  const controls = h("fieldset", { class: "controls", disabled: !mayAct(), title: mayAct() ? null : say("viewer_only") }, pause, speeds, next, h("span", { class: "jump" }, when, " ", go));
  element.replaceChildren(h("span", { class: "clock number" }, clock, day), controls, h("span", { class: "pace number" }, pace, " ", fidelity));
  return {
    jump,
    update() {
      const { network } = state;
      if (!network) return;
      write(clock, sayTime(network.time));
      write(day, `${sayDay(network.time)} UTC`);
      write(pause, network.paused ? `▶ ${say("go_on")}` : `❚❚ ${say("pause")}`);
      pause.setAttribute("aria-pressed", String(network.paused));
      for (const button of speeds.children) button.setAttribute("aria-pressed", String(Number(button.dataset.speed) === network.wanted_speed));
      next.disabled = !network.satellites.length;
      const behind = !network.paused && network.speed < network.wanted_speed * BEHIND;
      const shown = (speed) => Number(speed.toPrecision(3));
      write(pace, network.paused ? say("paused") : behind ? say("reached", { x: shown(network.speed), y: shown(network.wanted_speed) }) : say("keeps_up", { x: shown(network.wanted_speed) }));
      write(fidelity, say(network.fidelity));
      fidelity.title = say(`fidelity_${network.fidelity}`);
      fidelity.classList.toggle("behind", network.fidelity !== "events");
    },
  };
}
