// The form of a new training: shows what belongs to a choice, and asks what the training will take.
import { ask, duration, figures, make, put, ready, sleep } from "./studio.js";

const form = document.getElementById("new");

function reload(changed) {
  const query = new URLSearchParams();
  const reset = changed.name === "data" ? ["model", "recipe", "start", "lora"] : changed.name === "model" ? ["recipe", "start", "lora"] : [];
  for (const [name, value] of new FormData(form)) {
    const elsewhere = name.includes(".") && (changed.name === "data" || name.startsWith("family."));
    if (value && !reset.includes(name) && !elsewhere) query.set(name, value);
  }
  sessionStorage.setItem("focus", `[name="${changed.name}"]${changed.type === "radio" ? ":checked" : ""}`);
  sessionStorage.setItem("scroll", String(scrollY));
  location.replace(`/new?${query}`);
}

form.addEventListener("change", (event) => { if (event.target.matches("[data-reload]")) reload(event.target); });
// What was chosen before this script had loaded.
const early = [...form.querySelectorAll("[data-reload]")].find((input) => (input.type === "radio"
  ? input.checked && !input.defaultChecked : input.type === "checkbox" ? input.checked !== input.defaultChecked : input.value !== (input.querySelector("[selected]")?.value ?? "")));
if (early) reload(early);

// A second click must not start a second training.
const start = form.querySelector("button.main");
form.addEventListener("submit", () => { if (start) start.disabled = true; });
addEventListener("pageshow", () => { if (start) start.disabled = false; });

const focus = sessionStorage.getItem("focus");
if (focus) {
  scrollTo(0, Number(sessionStorage.getItem("scroll")));
  form.querySelector(focus)?.focus({ preventScroll: true });
  sessionStorage.removeItem("focus");
}

const plan = document.getElementById("plan");
document.getElementById("estimate")?.addEventListener("click", async (event) => {
  const words = JSON.parse(plan.dataset.words);
  event.target.disabled = true;
  plan.replaceChildren(make("p", { class: "waiting" }, make("span", { class: "spinner" }), words.waiting));
  try {
    const { key } = await ask("/new/plan", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    let state;
    do {
      await sleep(800);
      state = await ask(`/new/plan/${key}`);
    } while (state.alive);
    const found = state.result;
    if (found.error) throw new Error(found.error);
    const parameters = Object.values(found.parameters).reduce((a, b) => a + b, 0);
    const facts = [
      [words.model, found.config.model + (found.config.recipe ? ` · ${found.config.recipe}` : "")],
      [words.examples, found.data.train.toLocaleString()],
      ...(found.steps ? [
        [words.parameters, parameters.toLocaleString()],
        [words.step, `${figures(found.seconds_per_step)} s`],
        [words.steps, found.steps.toLocaleString()],
      ] : []),
      [words.time, duration(found.seconds)],
      [words.memory, found.memory ? `${(found.memory / 1e9).toFixed(1)} GB` : "–"],
    ];
    const list = make("dl", { class: "facts" });
    for (const [name, value] of facts) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    plan.replaceChildren(list, ...found.notices.map((n) => make("p", { class: "dim small", lang: "en" }, n)));
    if (found.memory > 12e9) plan.append(make("p", { class: "note" }, put(words.much, {})));
  } catch (error) {
    plan.replaceChildren(make("p", { class: "problem", role: "alert" }, error.message));
  }
  event.target.disabled = false;
});
ready();
