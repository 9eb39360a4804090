// Many runs side by side. The table and the first curves come at once, more curves as they are ticked.
import uPlot from "./uplot.js";
import { ask, block, duration, figures, make, put, ready } from "./studio.js";
import { axis, colour } from "./charts.js";

const words = block("[data-words]");
const states = block("[data-states]");
const by = (id) => document.getElementById(id);
const ROWS = 100, AT_ONCE = 100;
const post = (what, body) => ask(`/compare/${what}`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

const { columns, runs, first, ticked } = block("[data-found]");
for (const c of columns) c.title ||= words[c.key];
const chosen = new Set(runs.slice(0, ticked).map((r) => r.name));
let sorted = { key: null, down: false }, rows = ROWS;

const tell = (key, value) => (value == null ? "" : key === "seconds" ? duration(value) : Number.isInteger(value) ? value.toLocaleString() : figures(value));
const values = (run, key) => (["name", "state", "model", "data", "copying"].includes(key) ? run[key] ?? "" : run.values[key]);

function shown() {
  const parts = by("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = runs.filter((r) => {
    const text = [r.name, states[r.state], r.state, r.model, r.data, r.copying].join(" ").toLowerCase();
    return parts.every((p) => text.includes(p));
  });
  if (sorted.key) {
    const sign = sorted.down ? -1 : 1;
    found.sort((a, b) => {
      const x = values(a, sorted.key), y = values(b, sorted.key);
      if (x == null || y == null) return (x == null) - (y == null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
  }
  return found;
}

// -- table ---------------------------------------------------------------------------------------

const heads = [["name", words.name], ["state", words.state], ["model", words.model], ["data", words.data], ["copying", words.copying], ...columns.map((c) => [c.key, c.title])];
const numeric = new Set(columns.map((c) => c.key));
by("table").tHead.append(make("tr", {}, make("td", {}), ...heads.map(([key, title]) => {
  const button = make("button", { type: "button", class: "sort" }, title);
  button.addEventListener("click", () => {
    sorted = { key, down: sorted.key === key ? !sorted.down : false };
    for (const th of by("table").tHead.querySelectorAll("th")) th.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    table();
  });
  return make("th", { scope: "col", class: numeric.has(key) ? "num" : "" }, button);
})));

const best = Object.fromEntries(columns.filter((c) => c.key.startsWith("figure.") && c.goal !== "reference").map((c) => {
  const all = runs.map((r) => r.values[c.key]).filter((v) => v != null);
  return [c.key, all.length > 1 ? (c.goal === "lower" ? Math.min(...all) : Math.max(...all)) : NaN];
}));

function table() {
  const found = shown();
  by("count").textContent = put(words.count, { n: found.length, all: runs.length, chosen: chosen.size });
  by("table").tBodies[0].replaceChildren(...found.slice(0, rows).map((r) => {
    const tick = make("input", { type: "checkbox", "aria-label": put(words.tick, { name: r.name }) });
    tick.checked = chosen.has(r.name);
    tick.addEventListener("change", () => {
      if (tick.checked) chosen.add(r.name);
      else chosen.delete(r.name);
      curves();
      table.count();
    });
    return make("tr", {}, make("td", {}, tick), make("th", { scope: "row" }, make("a", { href: `/runs/${encodeURIComponent(r.name)}` }, r.name)),
      make("td", {}, make("span", { class: `badge ${r.state}` }, states[r.state])), make("td", {}, r.model), make("td", {}, r.data), make("td", {}, r.copying ?? ""),
      ...columns.map((c) => make("td", { class: "num" }, r.values[c.key] === best[c.key] ? make("b", {}, tell(c.key, r.values[c.key])) : tell(c.key, r.values[c.key]))));
  }));
  by("more").hidden = found.length <= rows;
}
table.count = () => (by("count").textContent = put(words.count, { n: shown().length, all: runs.length, chosen: chosen.size }));

let typing = 0;
by("filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { rows = ROWS; table(); plot(); }, 120); });
by("more").addEventListener("click", () => { rows += ROWS; table(); });
by("all").addEventListener("click", () => { for (const r of shown()) chosen.add(r.name); table(); curves(); });
by("nobody").addEventListener("click", () => { chosen.clear(); table(); curves(); });

// -- curves --------------------------------------------------------------------------------------

let chart = null, asked = 0, drawn = 0;

async function curves() {
  const turn = ++asked;
  const names = runs.map((r) => r.name).filter((n) => chosen.has(n));
  const parts = [];
  for (let i = 0; i < names.length; i += AT_ONCE) {
    const part = await post("curves", { runs: names.slice(i, i + AT_ONCE), series: by("series").value, over: by("over").value }).catch(() => null);
    if (turn !== asked) return; // something else was chosen meanwhile
    if (part) parts.push(part);
    draw(parts);
  }
  if (!names.length) draw([]);
  if (parts.some((p) => p.curves.some((c) => !c.exact))) setTimeout(() => turn === asked && curves(), 4000);
}

/** Answers have axes of their own; they are laid on the longest. */
function draw(parts) {
  const found = parts.flatMap((p) => p.curves.map((c) => ({ ...c, x: p.x })));
  const kept = by("series").value;
  const series = new Set(parts.flatMap((p) => p.series));
  for (const name of series) if (![...by("series").options].some((o) => o.value === name)) by("series").append(make("option", { value: name }, name));
  by("series").value = kept;
  chart?.destroy();
  chart = null;
  by("chart").replaceChildren();
  by("legend").replaceChildren();
  by("chart-note").textContent = !found.length ? words.no_curves : found.some((c) => !c.exact) ? words.sketch : "";
  if (!found.length) return;
  const x = parts.reduce((a, b) => ((b.x.at(-1) ?? 0) > (a.at(-1) ?? -1) ? b.x : a), []);
  const log = by("log-scale").checked;
  const laid = found.map((c) => {
    const scale = (c.x.length - 1) / (c.x.at(-1) || 1);
    return x.map((v) => {
      const value = v > c.x.at(-1) * 1.0001 ? null : c.values[Math.min(c.values.length - 1, Math.round(v * scale))];
      return log && value != null && value <= 0 ? null : value;
    });
  });
  const many = found.length > 24;
  const place = by("chart");
  chart = new uPlot({
    width: Math.max(240, place.clientWidth), height: 330, legend: { show: false }, cursor: { y: false, focus: { prox: 18 } }, focus: { alpha: 0.25 },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } }, axes: [axis(60), { ...axis(30), size: 58 }],
    series: [{}, ...found.map((c, i) => ({ label: c.name, stroke: colour(i), width: many ? 1 : 2, spanGaps: true, points: { show: false }, dash: i >= 6 && !many ? [6, 3 + (Math.floor(i / 6) % 3) * 2] : undefined }))],
    hooks: { setSeries: [(u, i) => { by("chart-note").textContent = i ? put(words.curve, { name: found[i - 1].name }) : ""; }] },
  }, [x, ...laid], place);
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", put(words.chart, { n: found.length }));
  if (!many) found.forEach((c, i) => {
    const last = c.values.findLast((v) => v != null);
    const key = make("span", { class: "key", "aria-hidden": "true" });
    key.style.background = i < 6 ? colour(i) : `repeating-linear-gradient(90deg, ${colour(i)} 0 5px, transparent 5px 8px)`;
    by("legend").append(make("li", {}, key, `${c.name} `, make("span", { class: "dim" }, figures(last))));
  });
}

for (const id of ["series", "over"]) by(id).addEventListener("change", curves);
by("log-scale").addEventListener("change", curves);
new ResizeObserver(() => chart?.setSize({ width: Math.max(240, by("chart").clientWidth), height: 330 })).observe(by("chart"));

// -- best in two figures at once -----------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  node.append(...children);
  return node;
};
const goal = (key) => columns.find((c) => c.key === key)?.goal ?? "lower";
const able = columns.filter((c) => c.goal !== "reference" && runs.some((r) => r.values[c.key] != null));
for (const id of ["across", "up"]) by(id).append(...able.map((c) => make("option", { value: c.key }, c.title)));
const have = (c) => runs.filter((r) => r.values[c.key] != null).length;
const figure = able.filter((c) => c.key.startsWith("figure.") && have(c) > 1).sort((a, b) => have(b) - have(a))[0];
const preferred = [able.find((c) => c.key === "seconds"), figure ?? able.find((c) => c.key === "loss")];
if (preferred[0]) by("across").value = preferred[0].key;
if (preferred[1]) by("up").value = preferred[1].key;

function scale(all, low, high) {
  const least = Math.min(...all), most = Math.max(...all);
  const log = least > 0 && most / least > 50;
  const f = log ? Math.log : (v) => v;
  const span = f(most) - f(least);
  const place = (v) => (span ? (f(v) - f(least) + 0.04 * span) / (1.08 * span) : 0.5);
  return { at: (v) => low + place(v) * (high - low), ends: span ? [least, most] : [least] };
}

async function plot() {
  const [kx, ky] = [by("across").value, by("up").value];
  const points = shown().map((r) => [r.name, r.values[kx], r.values[ky]]).filter(([, x, y]) => x != null && y != null);
  by("plot").replaceChildren();
  by("best").textContent = points.length ? "" : words.no_points;
  if (!points.length) return;
  const found = await post("front", { points, goals: [goal(kx), goal(ky)] });
  const on = new Set(found);
  drawn = by("plot").clientWidth;
  const wide = Math.max(280, drawn), high = 300;
  const sx = scale(points.map((p) => p[1]), 56, wide - 14), sy = scale(points.map((p) => p[2]), high - 34, 12);
  const label = (x, y, text, anchor) => svg("text", { x, y, "text-anchor": anchor }, text);
  const line = found.map((n) => points.find((p) => p[0] === n)).map((p) => `${sx.at(p[1])},${sy.at(p[2])}`).join(" ");
  by("plot").replaceChildren(svg("svg", { class: "scatter", viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": put(words.plot, { x: by("across").selectedOptions[0].text, y: by("up").selectedOptions[0].text, n: points.length }) },
    svg("path", { class: "frame", d: `M56 12V${high - 34}H${wide - 14}` }),
    ...sx.ends.map((v, i) => label(sx.at(v), high - 18, tell(kx, v), i ? "end" : "start")), ...sy.ends.map((v) => label(50, sy.at(v) + 4, tell(ky, v), "end")),
    label((56 + wide) / 2, high - 3, by("across").selectedOptions[0].text, "middle"),
    svg("polyline", { points: line }),
    ...points.map(([n, x, y]) => svg("circle", { cx: sx.at(x), cy: sy.at(y), r: on.has(n) ? 5.5 : 3.5, class: on.has(n) ? "on" : "" }, svg("title", {}, `${n}: ${tell(kx, x)}, ${tell(ky, y)}`)))));
  by("best").replaceChildren(`${words.best} `, ...found.slice(0, 30).flatMap((n, i) => [i ? ", " : "", make("a", { href: `/runs/${encodeURIComponent(n)}` }, n)]));
}
for (const id of ["across", "up"]) by(id).addEventListener("change", plot);
new ResizeObserver(() => {
  if (drawn && Math.abs(by("plot").clientWidth - drawn) > 30) plot();
}).observe(by("plot"));

ready();
draw([first]);
if (first.curves.some((c) => !c.exact)) setTimeout(curves, 4000);
table();
plot();
