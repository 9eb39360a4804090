// Files, folders and archives dropped on the data page. Each file is sent on its own, so that large ones need no memory.
import { ask, block, put, toast } from "./studio.js";

const zone = document.getElementById("drop");
const words = block("[data-words]", zone);
const naming = document.getElementById("naming");
const name = document.getElementById("set-name");
const picked = document.getElementById("picked");
const sent = document.getElementById("sent");
let chosen = []; // {path, file}

function choose(list) {
  chosen = list.filter((f) => !f.path.split("/").some((part) => part.startsWith(".")));
  if (!chosen.length) return toast(words.nothing);
  const bytes = chosen.reduce((sum, f) => sum + f.file.size, 0);
  if (bytes > Number(zone.dataset.most)) return toast(words.too_much);
  const first = chosen[0].path.split("/");
  name.value = (chosen.length > 1 && first.length === 1 ? words.my_data : first[0].replace(/\.(tar\.)?\w+$/, "")).slice(0, 80);
  picked.textContent = put(words.picked, { n: chosen.length.toLocaleString(), size: (bytes / 1e6).toFixed(1) });
  naming.hidden = false;
  name.focus();
  name.select();
}

for (const id of ["files", "folder"]) {
  const input = document.getElementById(id);
  const take = () => choose([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
  input.addEventListener("change", take);
  if (input.files.length) take(); // chosen before this script had loaded
}

async function walk(entry, above = "") {
  if (entry.isFile) return [{ path: above + entry.name, file: await new Promise((yes, no) => entry.file(yes, no)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((yes, no) => reader.readEntries(yes, no)); // gives at most 100 at a time
    if (!some.length) return found;
    for (const inner of some) found.push(...(await walk(inner, `${above}${entry.name}/`)));
  }
}

for (const kind of ["dragenter", "dragover"]) {
  zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
}
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  try {
    choose((await Promise.all(entries.map((entry) => walk(entry)))).flat());
  } catch (error) {
    toast(String(error.message ?? error));
  }
});

document.getElementById("cancel").addEventListener("click", () => { chosen = []; naming.hidden = true; });

naming.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = naming.querySelector("button");
  button.disabled = true;
  sent.hidden = false;
  try {
    const { key } = await ask("/data/incoming", { method: "POST" });
    const total = chosen.reduce((sum, f) => sum + f.file.size + 1000, 0);
    const waiting = [...chosen];
    let done = 0;
    const worker = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        await ask(`/data/incoming/${key}?path=${encodeURIComponent(next.path)}`, { method: "PUT", body: next.file });
        done += next.file.size + 1000;
        sent.value = done / total;
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    const set = await ask(`/data/incoming/${key}/end`, {
      method: "POST", body: JSON.stringify({ name: name.value }), headers: { "content-type": "application/json" },
    });
    location.href = `/data/own/${encodeURIComponent(set.name)}`;
  } catch (error) {
    toast(error.message);
    button.disabled = false;
    sent.hidden = true;
  }
});
