// What every page has: short messages, requests that tell their errors, tables that sort.

/** Buttons that do nothing without the page's script are served disabled, so that no click comes too early and is lost. */
export function ready() {
  for (const button of document.querySelectorAll("[data-script]")) button.disabled = false;
}

export function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (box.hidden = true), 7000);
}

/** The JSON of an answer. Throws an Error with the server's sentence. */
export async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { accept: "application/json", ...options.headers } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error?.message ?? `${answer.status} ${answer.statusText}`);
  return body;
}

/** A JSON block in the page, such as the words of a script. */
export const block = (selector, within = document) => JSON.parse(within.querySelector(selector).textContent);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((c) => c != null));
  return node;
}

/** Three or four figures that mean something. */
export function figures(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size >= 10000 || (size < 0.001 && size > 0) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const put = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// The home page is read anew while something is at work, and only while it is seen.
if (document.querySelector("[data-live-home] .running, [data-live-home] .preparing, [data-live-home] .stopping")) {
  setInterval(async () => {
    if (document.hidden || document.activeElement?.closest("[data-live-home]")) return;
    const text = await fetch("/").then((a) => (a.ok ? a.text() : ""), () => "");
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-live-home]");
    if (fresh) document.querySelector("[data-live-home]").replaceWith(fresh);
  }, 4000);
}
