// Waits for a job of the server and then shows what it found.
import { ask, sleep } from "./studio.js";

const place = document.querySelector("[data-wait]");
for (;;) {
  const state = await ask(place.dataset.wait).catch(() => ({ alive: true, log: "" }));
  if (!state.alive) break;
  place.querySelector("[data-said]").textContent = state.log;
  await sleep(1000);
}
location.reload();
