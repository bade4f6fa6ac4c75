// Key rates as colours: viridis-like, readable for the colour-blind, on a logarithmic scale from 10 bit/s to 1 Mbit/s.
const DARK = [[104, 88, 190], [66, 134, 200], [52, 178, 168], [132, 212, 96], [253, 231, 76]];
const LIGHT = [[94, 60, 153], [46, 94, 158], [22, 123, 122], [58, 132, 48], [138, 106, 0]];
export const RATE_LOW = 10;
export const RATE_HIGH = 1e6;

export function isDark() {
  const forced = document.documentElement.dataset.scheme;
  return forced ? forced === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function rateColour(rate_bps) {
  const stops = isDark() ? DARK : LIGHT;
  const share = Math.log10(Math.max(rate_bps, RATE_LOW) / RATE_LOW) / Math.log10(RATE_HIGH / RATE_LOW);
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const from = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[from].map((value, i) => Math.round(value + (stops[from + 1][i] - value) * (place - from)));
  return `rgb(${mixed.join(",")})`;
}

// States are told by a sign and a dash too, not by colour alone.
export const SIGNS = { up: "●", idle: "○", eavesdropped: "◉", alarm: "▲", cut: "✕", served: "●", short: "◐", none: "○", now: "◆", planned: "◇" };
export const STATE_COLOURS = { idle: "idle", eavesdropped: "spy", alarm: "bad", cut: "warn" };
export const DASHES = { up: [], idle: [3, 5], eavesdropped: [9, 4], alarm: [5, 4], cut: [2, 6] };
