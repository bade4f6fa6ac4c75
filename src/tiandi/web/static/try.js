// What can be tried: a message, an eavesdropper, a cut, a cloud, a compromised relay.
import { act, eavesdrop } from "./api.js";
import { followOptions, h } from "./dom.js";
import { nameOf, say } from "./words.js";
import { mayAct, select, state } from "./state.js";

const labelled = (key, field) => h("label", {}, say(key), field);
const card = (key, ...children) => h("section", { class: "try", "data-try": key }, h("h2", {}, say(`try_${key}`)), h("p", {}, say(`try_${key}_help`)), h("fieldset", { disabled: !mayAct() }, ...children));
const namesOf = (items) => items.map((item) => [item.name, nameOf(item.name)]);
const toggleOf = (key, onclick) => h("button", { type: "button", "aria-pressed": "false", onclick }, say(key));
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

function messageCard(tryOut) {
  const sender = h("select", { name: "sender" });
  const recipient = h("select", { name: "recipient" });
  const text = h("textarea", { name: "text", rows: 2, maxLength: 2000, "aria-label": say("text") });
  text.value = say("text_value");
  const answer = h("dl", { class: "answer", role: "status", hidden: true });
  const button = h("button", { class: "main", type: "button" }, say("send"));
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = say("sending");
    const sent = await tryOut(() => act(["messages"], { sender: sender.value, recipient: recipient.value, text: text.value }));
    button.disabled = false;
    button.textContent = say("send");
    answer.hidden = !sent;
    if (!sent) return;
    const told = (key, value, className = "") => h("div", {}, h("dt", {}, say(key)), h("dd", {}, className ? h("span", { class: className }, value) : h("code", {}, value)));
    answer.replaceChildren(told("way", sent.route.map(nameOf).join(" › "), "way-text"), told("method", sent.method, "method"), told("key_ids", sent.key_ids.join(" ")), told("ciphertext", sent.ciphertext), told("plaintext", sent.plaintext, "plaintext"));
    select("pair", [sent.sender, sent.recipient]);
  });
  return {
    element: card("message", h("div", { class: "two" }, labelled("from", sender), labelled("to", recipient)), text, button, answer),
    update(network) {
      const ends = new Set(network.pairs.flatMap((pair) => pair.ends));
      const nodes = network.nodes.filter((node) => node.kind !== "satellite" && (!ends.size || ends.has(node.name)));
      const fresh = !recipient.value;
      followOptions(sender, namesOf(nodes));
      followOptions(recipient, namesOf(nodes));
      if (fresh && nodes.length > 1) [sender.value, recipient.value] = network.pairs[0]?.ends ?? [nodes[0].name, nodes.at(-1).name];
    },
  };
}

function linkCard(tryOut) {
  const link = h("select", { name: "link", onchange: () => { select("link", link.value); update(state.network); } });
  const acted = (button, run) => async () => { select("link", link.value); await tryOut(() => run(link.value, !isPressed(button))); update(state.network); };
  const eve = toggleOf("eavesdropper");
  const cut = toggleOf("cut_fibre");
  eve.addEventListener("click", acted(eve, eavesdrop));
  cut.addEventListener("click", acted(cut, (name, on) => act(["links", name, "cut"], { on })));
  function update(network) {
    followOptions(link, namesOf(network.links.filter((one) => one.kind === "fibre")));
    const now = network.links.find((one) => one.name === link.value);
    eve.setAttribute("aria-pressed", String(Boolean(now?.eavesdropped)));
    cut.setAttribute("aria-pressed", String(now?.state === "cut"));
    eve.disabled = cut.disabled = !now;
  }
  return { element: card("link", labelled("link", link), h("div", { class: "two" }, eve, cut)), update };
}

function nodeCard(key, label, button, field, wanted, run, tryOut) {
  const node = h("select", { name: key, onchange: () => { select("node", node.value); update(state.network); } });
  const press = toggleOf(button, async () => { select("node", node.value); await tryOut(() => run(node.value, !isPressed(press))); update(state.network); });
  const element = card(key, h("div", { class: "with" }, labelled(label, node), press));
  function update(network) {
    const nodes = network.nodes.filter(wanted);
    element.hidden = !nodes.length;
    followOptions(node, namesOf(nodes));
    press.setAttribute("aria-pressed", String(Boolean(nodes.find((one) => one.name === node.value)?.[field])));
  }
  return { element, update };
}

export function tryTab(tryOut) {
  const cards = [
    messageCard(tryOut),
    linkCard(tryOut),
    nodeCard("cloud", "station", "cloud", "cloudy", (node) => node.kind === "ground station", (name, on) => act(["stations", name, "cloud"], { on }), tryOut),
    nodeCard("compromise", "node", "compromise", "compromised", (node) => node.kind !== "user node", (name, on) => act(["nodes", name, "compromise"], { on }), tryOut),
  ];
  return {
    element: h("div", {}, mayAct() ? null : h("p", { class: "note" }, say("viewer_help")), ...cards.map(({ element }) => element)),
    update() { if (state.network) for (const one of cards) one.update(state.network); },
  };
}
