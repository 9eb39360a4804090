// How a file of a batch is shown: by its ending, not by the modality, so that new ones need nothing here.
import { make } from "./studio.js";
import { readPdb, readSdf, show } from "./solid.js";

const text = (address) => fetch(address).then((a) => a.text());
const ROWS = 200;

/** Rows of a CSV, quotes respected. */
export function rowsOf(csv, most = ROWS + 1) {
  const rows = [[]];
  let cell = "", quoted = false;
  for (let i = 0; i < csv.length && rows.length <= most; i++) {
    const c = csv[i];
    if (quoted) {
      if (c === '"' && csv[i + 1] === '"') { cell += '"'; i++; } else if (c === '"') quoted = false; else cell += c;
    } else if (c === '"') quoted = true;
    else if (c === "," || c === "\t") { rows.at(-1).push(cell); cell = ""; }
    else if (c === "\n") { rows.at(-1).push(cell.replace(/\r$/, "")); cell = ""; rows.push([]); }
    else cell += c;
  }
  if (cell || rows.at(-1).length) rows.at(-1).push(cell);
  return rows.filter((r) => r.length && r.some((v) => v !== ""));
}

async function solid(address, read, words) {
  const body = read(await text(`${address}?download=true`));
  if (!body) return null;
  const box = make("div", {});
  if (body.solid) {
    const canvas = make("canvas", { class: "solid", tabindex: "0", role: "img", "aria-label": words.solid.replace("{n}", body.atoms.length) });
    box.append(canvas);
    show(canvas, body);
  }
  if (body.facts.length) {
    box.append(make("dl", { class: "tight" }, ...body.facts.map(([n, v]) => make("div", {}, make("dt", {}, words.facts[n] ?? n), make("dd", {}, v)))));
  }
  return box;
}

async function table(address, words) {
  const [head, ...rows] = rowsOf(await text(`${address}?download=true`));
  if (!head) return null;
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words.table },
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((h) => make("th", {}, h)))),
      make("tbody", {}, ...rows.slice(0, ROWS).map((r) => make("tr", {}, ...r.map((v) => make("td", {}, v)))))));
}

/** Makers of an element by a file's ending: (address, words, name) => element, or null where there is nothing to see. */
export const WIDGETS = {
  png: (address, words, name) => make("img", { src: address, alt: name, loading: "lazy" }),
  jpg: (address, words, name) => make("img", { src: address, alt: name, loading: "lazy" }),
  wav: (address, words, name) => make("audio", { src: address, controls: true, preload: "none", "aria-label": name }),
  mp4: (address, words, name) => make("video", { src: address, controls: true, preload: "metadata", "aria-label": name }),
  txt: async (address) => make("blockquote", { class: "text" }, (await text(address)).slice(0, 20000)),
  sdf: (address, words) => solid(address, readSdf, words),
  pdb: (address, words) => solid(address, readPdb, words),
  smi: async (address) => make("blockquote", { class: "text mono" }, (await text(`${address}?download=true`)).split("\n").filter((l) => !l.startsWith("#")).join("\n")),
  csv: table,
  tsv: table,
  // The mark stands in the line above the residues; it is for other programs.
  fasta: async (address) => make("blockquote", { class: "text mono" }, (await text(`${address}?download=true`)).replace(/^(>.*?) genloom \{.*$/gm, "$1").slice(0, 20000)),
};
