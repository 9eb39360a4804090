// Learning curves by uPlot: a line of last values over a band from the least to the most of each stretch.
import uPlot from "./uplot.js";
import { figures } from "./studio.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colour = (i) => css(`--c${i % 6}`);

const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(4)));
};

export const axis = (space) => ({
  stroke: css("--dim"), grid: { stroke: css("--rule"), width: 1 }, ticks: { stroke: css("--rule"), width: 1 }, font: "12px system-ui", space,
  values: (_, ticks) => ticks.map((v) => (v == null ? "" : short(v))),
});

/** curves: [{label, steps, low, high, last, colour}]. Draws them over each other into `place`; returns the chart. */
export function draw(place, curves, { log = false, height = 230, label = "" } = {}) {
  const tables = curves.flatMap((c) => [[c.steps, c.low, c.high, c.last]]);
  const data = curves.length === 1 ? tables[0] : uPlot.join(tables.map((t) => t));
  const positive = (v) => (log && v != null && v <= 0 ? null : v);
  const series = [{ label: "step" }];
  const bands = [];
  curves.forEach((c, i) => {
    const stroke = c.colour ?? colour(i);
    const at = series.length;
    const faint = stroke.startsWith("#") ? `${stroke}2e` : stroke;
    series.push({ show: true, stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } });
    series.push({ label: c.label, stroke, width: 2, spanGaps: true, points: { show: c.steps.length < 3, size: 6, fill: stroke }, value: (_, v) => figures(v) });
    bands.push({ series: [at + 1, at], fill: faint });
  });
  const chart = new uPlot(
    {
      width: Math.max(240, place.clientWidth), height, series, bands, legend: { show: curves.length > 1 && curves.length <= 12 },
      cursor: { y: false, focus: { prox: 24 }, drag: { x: true, y: false } }, focus: { alpha: 0.35 },
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [axis(60), { ...axis(30), size: 58 }],
    },
    log ? data.map((column, i) => (i ? column.map(positive) : column)) : data,
    place,
  );
  for (const row of chart.root.querySelectorAll(".u-legend .u-series")) {
    if (row.querySelector(".u-label")?.textContent === "Value" || !row.querySelector(".u-label")?.textContent) row.hidden = true;
  }
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", label);
  new ResizeObserver(() => {
    const width = Math.max(240, place.clientWidth);
    if (width !== chart.width) chart.setSize({ width, height });
  }).observe(place);
  return chart;
}
