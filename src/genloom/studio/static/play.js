// The playground: asks for samples and shows what comes, as its files say. What was made before is shown again.
import { ask, block, make, put, ready } from "./studio.js";
import { WIDGETS } from "./widgets.js";

const page = document.getElementById("play");
const base = page.dataset.base;
const words = { ...block("[data-words]", page), facts: block("[data-facts]", page) };
const form = document.getElementById("asking");
const batches = document.getElementById("batches");
const busy = document.getElementById("busy");
const trouble = document.getElementById("trouble");
const SHOWN = 24; // files of a batch that are shown on their own at once
const MOST = 5e6; // bytes of a file
const RICH = ["wav", "mp4", "sdf", "pdb", "csv", "tsv"]; // endings of files that show more than a picture of all samples

const ending = (name) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();
const stem = (name) => name.slice(0, name.lastIndexOf("."));

/** A chosen file as the server takes it. */
const sent = (file) => new Promise((yes, no) => {
  if (file.size > MOST) throw new Error(words.too_large);
  const reader = new FileReader();
  reader.onload = () => yes({ name: file.name, data: reader.result.split(",")[1] ?? "" });
  reader.onerror = () => no(reader.error);
  reader.readAsDataURL(file);
});

async function wish() {
  const values = Object.fromEntries(new FormData(form));
  const options = {};
  for (const input of form.querySelectorAll(".options [name]")) if (input.name !== "stop" && input.value) options[input.name] = input.value;
  const properties = {};
  for (const input of form.querySelectorAll("[data-property]")) if (input.value) properties[input.dataset.property] = input.value;
  const files = {};
  for (const input of form.querySelectorAll("[type=file]")) if (input.files.length) files[input.name] = await sent(input.files[0]);
  return { ...files, keep: values.keep, suffix: values.suffix, n: values.n, seed: values.seed, label: values.label, prompt: values.prompt, source: values.source, stop: values.stop, where: values.where, only: values.only, repair: Boolean(values.repair), options, properties };
}

async function working(act) {
  if (!form.reportValidity()) return;
  trouble.hidden = true;
  busy.hidden = false;
  const buttons = [...page.querySelectorAll(".act button:not(#halt), #get-sliders, #keep")];
  for (const b of buttons) b.disabled = true;
  try {
    return await act();
  } catch (error) {
    if (error.name === "AbortError") return;
    trouble.textContent = error.message;
    trouble.hidden = false;
  } finally {
    busy.hidden = true;
    for (const b of buttons) b.disabled = false;
  }
}

const send = (what, body) => ask(`${base}/play/${what}`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

// -- what was made -------------------------------------------------------------------------------

const save = (address, name, kind = ending(name).toUpperCase()) => make("a", { href: `${address}?download=true`, download: name, class: "save" }, put(words.save, { kind }));

/** A line that goes over the picture of a piece while it sounds. */
function follow(sound, roll) {
  const line = make("i", { hidden: true });
  const frame = make("div", { class: "roll" });
  roll.replaceWith(frame);
  frame.append(roll, line);
  const move = () => {
    line.hidden = !sound.currentTime;
    line.style.left = `${0.6 + 98.8 * (sound.currentTime / (sound.duration || 1))}%`;
    if (!sound.paused) requestAnimationFrame(move);
  };
  sound.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
    move();
  });
  sound.addEventListener("seeked", move);
}

async function item(place, name, files) {
  const box = make("figure", { class: "made" });
  const links = make("figcaption", {});
  const seen = files.some((f) => ["png", "jpg"].includes(ending(f.name))); // then its text need not be
  for (const file of files) {
    const address = `${place}/${encodeURIComponent(file.name)}`;
    const widget = await Promise.resolve(seen && ending(file.name) === "txt" ? null : WIDGETS[ending(file.name)]?.(address, words, `${words.sample} ${name}`)).catch(() => null);
    if (widget) box.append(widget);
    links.append(save(address, file.name), " ");
  }
  box.append(links);
  const sound = box.querySelector("audio"), roll = box.querySelector("img");
  if (sound && roll) follow(sound, roll);
  return box;
}

async function show(batch, open) {
  const place = `${base}/made/${batch.id}`;
  const asked = batch.asked;
  const title = put(words[batch.task] ?? words.sample, { n: asked.n ?? 1 });
  const about = [asked.label && `${words.class} ${asked.label}`, put(words.seed, { n: asked.seed }), asked.where, asked.keep && put(words.voices, { n: asked.keep }), asked.only, asked.prompt && `“${asked.prompt.slice(0, 40)}”`].filter(Boolean).join(" · ");
  const box = make("section", { class: "batch" }, make("div", { class: "head" }, make("h3", {}, title, " ", make("span", { class: "dim" }, about)), make("a", { class: "button small", href: `${place}/all.zip`, download: "" }, words.all)));
  for (const notice of new Set(batch.notices)) box.append(make("p", { class: "note small", lang: "en" }, notice));
  const at = (file) => `${place}/${encodeURIComponent(file.name)}`;
  const sheet = batch.files.find((f) => f.name === batch.sheet);
  const groups = new Map(), others = []; // files of each sample, and those of all together
  for (const file of batch.files) {
    if (file === sheet || file.name.startsWith("provenance-") || ending(file.name) === "json") continue;
    if (!/^\d{6}/.test(file.name) && !["rows", "fill"].includes(batch.task)) others.push(file);
    else if (groups.has(stem(file.name))) groups.get(stem(file.name)).push(file);
    else groups.set(stem(file.name), [file]);
  }
  const sounds = batch.files.some((f) => ending(f.name) === "wav"); // each with a picture of its own
  if (sheet && sounds) others.push(sheet);
  else if (sheet && ending(sheet.name) === "png") box.append(make("img", { class: "sheet", src: at(sheet), alt: title }), make("p", {}, save(at(sheet), sheet.name)));
  batch.texts.forEach((text, i) => {
    const begins = asked.prompt && text.startsWith(asked.prompt);
    box.append(make("blockquote", { class: "text" }, begins ? make("b", {}, asked.prompt) : "", begins ? text.slice(asked.prompt.length) : text));
  });
  const own = make("div", { class: sounds ? "items broad" : "items" });
  const fill = async () => {
    for (const [name, files] of [...groups].slice(0, own.dataset.all ? undefined : SHOWN)) own.append(await item(place, name, files));
  };
  const quiet = batch.texts.length || (sheet && ![...groups.values()].some((g) => g.some((f) => RICH.includes(ending(f.name)))));
  if (quiet && groups.size) {
    const details = make("details", {}, make("summary", {}, put(words.each, { n: groups.size })), own);
    details.addEventListener("toggle", () => { if (details.open && !own.children.length) { own.dataset.all = "yes"; fill(); } });
    own.classList.toggle("plainlinks", batch.texts.length > 0);
    box.append(details);
  } else if (groups.size) {
    box.append(own);
    fill();
  }
  if (others.length) box.append(make("p", { class: "small" }, `${words.also} `, ...others.flatMap((f) => [save(at(f), f.name, f.name), " "])));
  document.getElementById("none").hidden = true;
  if (open) batches.prepend(box);
  else batches.append(box);
}

// -- asking --------------------------------------------------------------------------------------

form.addEventListener("submit", (event) => {
  event.preventDefault();
  working(async () => show(await send("samples", await wish()), true));
});
document.getElementById("another").addEventListener("click", () => {
  document.getElementById("seed").value = Math.floor(Math.random() * 1e6);
  form.requestSubmit();
});
document.getElementById("ways")?.addEventListener("click", () => working(async () => show(await send("ways", { ...(await wish()), steps: 8, rows: 3 }), true)));

const halt = document.getElementById("halt");
document.getElementById("stream")?.addEventListener("click", () => working(async () => {
  const flowing = document.getElementById("flowing");
  const asked = await wish();
  document.getElementById("live").hidden = false;
  flowing.replaceChildren(make("b", {}, asked.prompt ?? ""));
  const control = new AbortController();
  halt.hidden = false;
  halt.onclick = () => control.abort();
  try {
    const answer = await fetch(`${base}/play/stream`, { method: "POST", body: JSON.stringify(asked), headers: { accept: "application/json", "content-type": "application/json" }, signal: control.signal });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (held + value).split("\n");
      held = lines.pop();
      for (const line of lines) {
        const told = JSON.parse(line);
        if (told.error) throw new Error(told.error);
        if (told.piece) flowing.append(told.piece);
        if (told.batch) await show(told.batch, true);
      }
      flowing.scrollTop = flowing.scrollHeight;
    }
  } finally {
    halt.hidden = true;
  }
}));

// -- latents -------------------------------------------------------------------------------------

const latents = document.getElementById("latents");
if (latents) {
  const place = latents.querySelector(".latent");
  const sliders = latents.querySelector(".sliders");
  const image = document.getElementById("moved");
  const text = document.getElementById("moved-text");
  let spreads = {}, centre = {}, drawing = false, again = false;

  const moves = () => Object.fromEntries([...sliders.querySelectorAll("input")].map((s) => [s.dataset.latent, Number(s.value)]));
  async function draw() {
    if (drawing) { again = true; return; }
    drawing = true;
    try {
      const seen = await send("moved", { ...centre, moves: moves(), spreads });
      image.hidden = !seen.picture;
      text.hidden = Boolean(seen.picture);
      if (seen.picture) image.src = `data:image/png;base64,${seen.picture}`;
      else text.textContent = seen.text;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    drawing = false;
    if (again) { again = false; draw(); }
  }
  document.getElementById("get-sliders").addEventListener("click", () => working(async () => {
    const { seed, label } = await wish();
    centre = { seed, label };
    const found = await send("sliders", centre);
    spreads = Object.fromEntries(found.map((f) => [f.latent, f.spread]));
    sliders.replaceChildren(...found.map((f) => {
      const input = make("input", { type: "range", min: "-3", max: "3", step: "0.1", value: "0", id: `latent-${f.latent}`, "data-latent": String(f.latent) });
      input.addEventListener("input", draw);
      const much = f.unit === "nats" ? put(words.nats, { n: f.activity.toFixed(2) }) : put(words.share, { n: Math.round(100 * f.activity) });
      return make("div", {}, make("label", { for: `latent-${f.latent}` }, put(words.latent, { n: f.latent }), " ", make("span", { class: "dim" }, much)), input);
    }));
    place.hidden = false;
    await draw();
  }));
  document.getElementById("zero").addEventListener("click", () => {
    for (const s of sliders.querySelectorAll("input")) s.value = 0;
    draw();
  });
  document.getElementById("keep").addEventListener("click", () => working(async () => show(await send("moved", { ...centre, moves: moves(), spreads, keep: true }), true)));
}

ready();
for (const key of block("[data-kept]", page).slice(0, 6)) {
  const batch = await ask(`${base}/made/${key}`).catch(() => null);
  if (batch) await show(batch, false);
}
