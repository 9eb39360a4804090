// The page of a run follows what is on disk: curves, samples, state and log come as events, and after a break go on
// from the last one.
import { draw } from "./charts.js";
import { ask, block, duration, figures, make, put, ready } from "./studio.js";

const page = document.getElementById("run");
const base = page.dataset.base;
const words = block("[data-words]", page);
const states = block("[data-states]", page);
const curves = document.getElementById("curves");
const more = document.getElementById("more-curves");
const logScale = document.getElementById("log-scale");
const MOST = 2400; // points, from which the curves are fetched anew in fewer

let data = { steps: [], series: {} };
const charts = new Map();

// -- curves --------------------------------------------------------------------------------------

function box(name, place) {
  const value = make("output");
  const figure = make("div", { class: "chart" }, make("h3", {}, name.replace(/^(losses|logs)\./, "").replace("examples_per_second", words.speed), value), make("div"));
  place.append(figure);
  return { figure, value, chart: null };
}

function show(fresh = false) {
  const names = Object.keys(data.series).filter((n) => n !== "seconds");
  const order = (n) => (n.startsWith("losses.") ? 0 : n.startsWith("logs.") ? 1 : 2);
  names.sort((a, b) => order(a) - order(b));
  if (fresh) {
    for (const c of charts.values()) c.chart?.destroy();
    charts.clear();
    curves.replaceChildren();
    more.querySelector(".charts").replaceChildren();
  }
  if (!names.length) {
    curves.replaceChildren(make("p", { class: "dim" }, page.dataset.state === "finished" ? words.at_once : curves.dataset.empty));
    return;
  }
  if (!charts.size) curves.replaceChildren();
  for (const name of names) {
    if (!charts.has(name)) charts.set(name, box(name, name.startsWith("losses.") ? curves : more.querySelector(".charts")));
    const c = charts.get(name);
    const s = data.series[name];
    const last = s.last.findLast((v) => v != null);
    c.value.textContent = figures(last);
    const hidden = !name.startsWith("losses.");
    more.hidden = more.hidden && !hidden;
    if (hidden && !more.open) continue;
    const label = put(words.chart, { name, n: data.steps.at(-1), last: figures(last) });
    if (c.chart) {
      c.chart.setData([data.steps, s.low, s.high, s.last]);
      c.chart.root.setAttribute("aria-label", label);
    } else {
      c.chart = draw(c.figure.lastElementChild, [{ label: name, steps: data.steps, ...s, colour: undefined }], { log: logScale.checked && name.startsWith("losses."), label });
    }
  }
}

more.addEventListener("toggle", () => show());
logScale.addEventListener("change", () => show(true));
for (const query of ["(prefers-color-scheme: dark)"]) matchMedia(query).addEventListener("change", () => show(true));

function append(records) {
  const known = data.steps.at(-1) ?? -1;
  for (const record of records) {
    if (record.step <= known && data.steps.length) continue;
    data.steps.push(record.step);
    for (const name of new Set([...Object.keys(data.series), ...Object.keys(record.values)])) {
      const s = (data.series[name] ??= { low: [], high: [], last: [] });
      for (const part of ["low", "high", "last"]) {
        while (s[part].length < data.steps.length - 1) s[part].push(null);
        s[part].push(Number.isFinite(record.values[name]) ? record.values[name] : null);
      }
    }
  }
  if (data.steps.length > MOST) return void fetchCurves();
  show();
}

async function fetchCurves() {
  data = await ask(`${base}/curves.json?log=${page.dataset.logTo}`);
  show(true);
  if (!data.exact) setTimeout(fetchCurves, 2500); // a sketch of a long history; the whole comes
  return data.place;
}

// -- samples -------------------------------------------------------------------------------------

const samples = document.getElementById("samples");
const time = document.getElementById("time");
const sheet = document.getElementById("sheet");
const writing = document.getElementById("writing");
let drawn = block("script", samples).map((name) => ({ name, step: name.startsWith("step-") ? parseInt(name.slice(5), 10) : null }));
let version = 0;

async function seeSample() {
  const at = drawn[Number(time.value)];
  if (!at) return;
  const address = `${samples.dataset.base}/${encodeURIComponent(at.name)}`;
  const caption = at.step == null ? words.final : put(words.at_step, { n: at.step.toLocaleString() });
  document.getElementById("when").textContent = caption;
  time.setAttribute("aria-valuetext", caption);
  const save = document.getElementById("save-sample");
  save.href = `${address}?download=true`;
  sheet.hidden = !at.name.endsWith(".png");
  writing.hidden = !sheet.hidden;
  if (!sheet.hidden) {
    sheet.src = `${address}?v=${version}`;
    sheet.alt = put(words.sheet, { when: caption });
  } else {
    writing.textContent = await fetch(address).then((a) => a.text());
    writing.classList.toggle("aligned", /\S {2,}\S/.test(writing.textContent.split("\n", 1)[0])); // a table
  }
}

time.addEventListener("input", seeSample);
let playing = 0;
document.getElementById("play-time").addEventListener("click", () => {
  clearInterval(playing);
  time.value = 0;
  seeSample();
  playing = setInterval(() => {
    if (Number(time.value) >= drawn.length - 1) return clearInterval(playing);
    time.value = Number(time.value) + 1;
    seeSample();
  }, 700);
});

function samplesAre(list) {
  const atEnd = Number(time.value) >= drawn.length - 1 || !drawn.length;
  drawn = list;
  version += 1;
  document.getElementById("no-samples").hidden = list.length > 0;
  document.getElementById("has-samples").hidden = !list.length;
  time.max = Math.max(0, list.length - 1);
  if (atEnd) time.value = list.length - 1;
  seeSample();
}
if (drawn.length) seeSample();

// -- state and log -------------------------------------------------------------------------------

const log = document.getElementById("log");
log.scrollTop = log.scrollHeight;

function stateIs(s) {
  const badge = document.getElementById("state");
  badge.textContent = states[s.state];
  badge.className = `badge ${s.state}`;
  document.getElementById("progress").value = s.fraction ?? 0;
  document.getElementById("percent").textContent = s.fraction == null ? "" : `${Math.round(100 * s.fraction)}%`;
  document.getElementById("left").textContent = s.left == null ? "" : put(words.left, { time: duration(s.left) });
  const sentence = document.getElementById("sentence");
  sentence.textContent = s.sentence || (s.state === "failed" ? words.failed : "");
  sentence.hidden = s.state !== "failed";
  for (const form of page.querySelectorAll("[data-when]")) {
    form.hidden = !form.dataset.when.split(" ").includes(s.state) || (form.classList.contains("resume") && !s.resumable);
  }
  const before = page.dataset.state;
  page.dataset.state = s.state;
  if (before !== s.state && ["running", "preparing", "stopping"].includes(before) && ["finished", "stopped", "failed"].includes(s.state)) location.reload();
}

let logTo = Number(page.dataset.logTo);

function logIs(piece) {
  if (piece.to <= logTo && !piece.new) return; // heard already
  logTo = piece.to;
  const bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.textContent = (piece.new ? "" : log.textContent) + piece.text;
  if (bottom) log.scrollTop = log.scrollHeight;
}

// -- events --------------------------------------------------------------------------------------

const acts = { history: append, reset: fetchCurves, samples: samplesAre, state: stateIs, log: logIs };
ready();
let place = await fetchCurves();
let source = null;

function listen() {
  source = new EventSource(`${base}/events?after=${place}`);
  for (const [kind, act] of Object.entries(acts)) {
    source.addEventListener(kind, (event) => {
      place = event.lastEventId || place;
      act(JSON.parse(event.data));
    });
  }
}

// A page that nobody sees listens to nothing: browsers open few connections to a server at once.
document.addEventListener("visibilitychange", () => {
  source?.close();
  if (!document.hidden) listen();
});
if (!document.hidden) listen();

const judging = document.getElementById("judging");
if (judging.dataset.alive === "true") {
  const timer = setInterval(async () => {
    const state = await ask(`${base}/judging.json`).catch(() => ({ alive: true }));
    if (!state.alive) { clearInterval(timer); location.reload(); }
  }, 2000);
}
