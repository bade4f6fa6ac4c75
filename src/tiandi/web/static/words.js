// Words and numbers in the reader's language. A language is one file in words/; names of places that it lacks stay as they are.
const LANGUAGES = ["en", "zh"];
let words = {};
let sentences = [];
const FIDELITIES = ["events", "expected"];
export let language = "en";

export async function loadWords(wanted) {
  language = LANGUAGES.includes(wanted) ? wanted : "en";
  const answer = await fetch(`/static/words/${language}.json`);
  words = await answer.json();
  sentences = words.sentences.map(([english, own]) => [patternOf(english), own]);
  document.documentElement.lang = language === "zh" ? "zh-CN" : language;
}

// The network tells sentences in English. A language gives for each kind of sentence its English form and its own, with the same {blanks}.
function patternOf(english) {
  const parts = english.split(/\{(\w+)\}/).map((part, i) => (i % 2 ? `(?<${part}>.+?)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  return new RegExp(`^${parts.join("")}$`);
}

// A sentence in the reader's language; what fills its blanks is a sentence or a name again. One that the language lacks stays as it is.
export function saySentence(text) {
  for (const [pattern, own] of sentences) {
    const found = pattern.exec(text);
    if (found) return own.replace(/\{(\w+)\}/g, (_, name) => saySentence(found.groups[name]));
  }
  return FIDELITIES.includes(text) ? say(text) : nameOf(text);
}

export const firstLanguage = () => localStorage.getItem("tiandi-language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
export const nextLanguage = () => LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];

// The word for a key, with {x} filled in; an unknown key comes back as it is, so that a new kind is readable.
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}
export const sayKind = (kind) => words[`kind_${kind}`] ?? kind;

// A node's name, or a link's: the names of places in it are put into the reader's language.
export function nameOf(name) {
  const names = words.names ?? {};
  if (names[name]) return names[name];
  return name.split(/( - |–|\/)/).map((part) => {
    const dashed = part.split("-");
    const relay = /^(.+) relay( \d+)?$/.exec(part);
    if (relay && names[relay[1]]) return say("relay_of", { x: names[relay[1]], n: relay[2] ?? "" });
    if (names[part] || dashed.length < 2) return names[part] ?? part;
    return dashed.every((word) => names[word] || /^\d+$/.test(word)) ? dashed.map((word) => names[word] ?? word).join("-") : part;
  }).join("");
}
export const sayEnds = (ends) => ends.map(nameOf).join(" – ");

const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];
export function inThousands(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  let step = 0;
  let size = Math.abs(value);
  while (size >= 999.5 && step < PREFIXES.length - 1) { size /= 1000; step += 1; }
  const digits = size >= 99.5 || (step === 0 && Number.isInteger(value)) ? 0 : size >= 9.95 ? 1 : size >= 0.0995 || size === 0 ? 2 : 3;
  const shown = (value < 0 ? "-" : "") + Number(size.toFixed(digits));
  const ending = PREFIXES[step] + unit;
  return ending ? `${shown} ${ending}` : shown;
}
export const sayRate = (bps) => inThousands(bps, "bit/s");
export const sayBits = (bit) => inThousands(bit, "bit");
export const sayShare = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(2)} %`);
export function sayDuration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}
export const sayTime = (iso) => iso.slice(11, 19);
export const sayDay = (iso) => iso.slice(0, 10);
