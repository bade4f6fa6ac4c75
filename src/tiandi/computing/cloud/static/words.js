// Words and numbers in the reader's language: one file each in words/.
const LANGUAGES = ["en", "zh"];
let words = {};
export let language = "en";

export async function loadWords(wanted) {
  language = LANGUAGES.includes(wanted) ? wanted : "en";
  words = await (await fetch(`/static/words/${language}.json`)).json();
  document.documentElement.lang = language === "zh" ? "zh-CN" : language;
}
export const firstLanguage = () => localStorage.getItem("tiandi-language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
export const nextLanguage = () => LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];

// The word for a key, with {x} filled in.
export const say = (key, values = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
export const sayState = (state) => words[`state_${state}`] ?? state;

export const sayNumber = (value) => value.toLocaleString(language === "zh" ? "zh-CN" : "en-GB");
const rounded = (value) => (value === 0 ? "0" : String(Number(value.toPrecision(3))));
export const sayShare = (share) => `${rounded(share * 100)} %`;
export const sayMicroseconds = (seconds) => `${rounded(seconds * 1e6)} µs`;
export const sayGigahertz = (hertz) => `${(hertz / 1e9).toFixed(3)} GHz`;
export const sayNanoseconds = (seconds) => `${rounded(seconds * 1e9)} ns`;
// A figure with its standard error, in as many digits as that allows.
export function sayEstimate({ value, error }) {
  const digits = error > 0 ? Math.min(Math.max(1 - Math.floor(Math.log10(error)), 0), 6) : 4;
  return `${value.toFixed(digits)} ± ${error.toFixed(digits)}`.replace("-", "−");
}
export function sayDuration(seconds) {
  if (seconds < 1) return `${rounded(seconds * 1e3)} ms`;
  return seconds < 120 ? `${rounded(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
export const sayTime = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
