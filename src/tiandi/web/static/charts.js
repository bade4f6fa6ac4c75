// Charts over simulated time, in the page's colours.
import uPlot from "./vendor/uplot.js";
import { colourOf } from "./dom.js";
import { inThousands } from "./words.js";

const HEIGHT_PX = 92;

export function makeChart(parent, { title, unit, colour, share = false }) {
  const box = document.createElement("figure");
  box.className = "chart";
  box.style.margin = "4px -4px 6px";
  const caption = document.createElement("figcaption");
  caption.className = "soft";
  caption.style.fontSize = "12px";
  caption.style.paddingLeft = "4px";
  box.append(caption);
  parent.append(box);
  let plot = null;
  const show = (value) => (value === null ? "–" : share ? `${Number((value * 100).toFixed(2))} %` : inThousands(value, unit));
  const make = (data) => {
    const axis = { stroke: colourOf("ink-soft"), grid: { stroke: colourOf("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const line = colourOf(colour);
    plot = new uPlot({
      width: box.clientWidth || 330, height: HEIGHT_PX, padding: [6, 26, 0, 0], cursor: { y: false, points: { size: 7 } }, legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.12 : 1] } },
      axes: [{ ...axis, size: 22, space: 70, values: "{HH}:{mm}:{ss}" }, { ...axis, size: 62, space: 26, values: (_, splits) => splits.map(show) }],
      series: [{}, { stroke: line, width: 2, fill: line.replace("rgb(", "rgba(").replace(")", ", .13)"), points: { show: data[0].length < 3 } }],
      hooks: { setCursor: [(self) => { caption.textContent = `${title}: ${show(self.data[1][self.cursor.idx] ?? self.data[1].findLast((value) => value !== null) ?? null)}`; }] },
    }, data, box);
    plot.root.setAttribute("aria-hidden", "true");
  };
  return {
    update(times, values) {
      const last = values.findLast((value) => value !== null) ?? null;
      if (!plot || plot.cursor.idx === null || plot.cursor.idx === undefined) caption.textContent = `${title}: ${show(last)}`;
      const data = [times, values];
      if (!plot) make(data);
      else plot.setData(data);
    },
    redraw() { plot?.destroy(); plot = null; },
  };
}
