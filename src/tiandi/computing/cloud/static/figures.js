// What a qubit or coupler can be coloured by, and the colours: blue for the best of a machine, yellow for the worst, ever lighter between
// them, so that the colour-blind and a grey print tell them apart.
import { sayMicroseconds, sayShare } from "./words.js";

const STOPS = [[36, 86, 166], [79, 127, 168], [138, 154, 134], [201, 180, 88], [255, 220, 61]];

export const FIGURES = [
  { name: "readout_error", write: sayShare, isBetterLow: true },
  { name: "single_qubit_error", write: sayShare, isBetterLow: true },
  { name: "t1_s", write: sayMicroseconds, isBetterLow: false },
  { name: "t2_s", write: sayMicroseconds, isBetterLow: false },
];
export const TWO_QUBIT = { name: "two_qubit_error", write: sayShare, isBetterLow: true };

// The best and the worst value of those that work.
export function scaleOf(figure, items) {
  const values = items.filter((item) => item.works).map((item) => item[figure.name]).filter(Number.isFinite);
  if (!values.length) return null;
  const ends = [Math.min(...values), Math.max(...values)];
  const [best, worst] = figure.isBetterLow ? ends : ends.reverse();
  return { ...figure, best, worst };
}

// 0 for the best, 1 for the worst; errors and times spread over decades, so by their logarithm.
function place(scale, value) {
  if (scale.best === scale.worst) return 0;
  const share = Math.log(value / scale.best) / Math.log(scale.worst / scale.best);
  return Number.isFinite(share) ? Math.min(Math.max(share, 0), 1) : (value - scale.best) / (scale.worst - scale.best);
}

function mixed(share) {
  const at = share * (STOPS.length - 1);
  const from = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[from].map((value, i) => Math.round(value + (STOPS[from + 1][i] - value) * (at - from)));
}

const css = (colour) => `rgb(${colour.join(" ")})`;
export const colourOf = (scale, value) => css(mixed(place(scale, value)));
export const gradient = (count) => Array.from({ length: count }, (_, i) => css(mixed(i / (count - 1))));

// Black or white, whichever is read better on it (WCAG 2.2, relative luminance).
export function inkOn(scale, value) {
  const [r, g, b] = mixed(place(scale, value)).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
