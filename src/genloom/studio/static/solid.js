// Molecules and chains of proteins in three dimensions on a canvas: drag, or turn with the arrow keys.
const COLOURS = { H: "#c9ccd1", C: "#6b7078", N: "#3b6fe0", O: "#d9382c", F: "#3aa655", CL: "#3aa655", BR: "#a5522a", I: "#7a3fb0", S: "#d8a913", P: "#e07b1a" };
const SIZES = { H: 0.28, C: 0.42, N: 0.4, O: 0.4, S: 0.5, P: 0.5, CL: 0.5, BR: 0.55, I: 0.6 };

/** {atoms: [{x, y, z, element}], bonds: [[i, j, order]], facts: [[name, value]]} of the first record of an SDF file. */
export function readSdf(text) {
  const lines = text.split(/\r?\n/);
  const counts = lines[3] ?? "";
  const atomCount = parseInt(counts.slice(0, 3), 10);
  const bondCount = parseInt(counts.slice(3, 6), 10);
  if (!Number.isFinite(atomCount) || counts.includes("V3000")) return null;
  const atoms = lines.slice(4, 4 + atomCount).map((l) => ({
    x: parseFloat(l.slice(0, 10)), y: parseFloat(l.slice(10, 20)), z: parseFloat(l.slice(20, 30)), element: l.slice(31, 34).trim().toUpperCase(),
  }));
  const bonds = lines.slice(4 + atomCount, 4 + atomCount + bondCount).map((l) => [parseInt(l.slice(0, 3), 10) - 1, parseInt(l.slice(3, 6), 10) - 1, parseInt(l.slice(6, 9), 10)]);
  const facts = [];
  lines.forEach((line, i) => {
    const name = /^>\s*<(.+)>/.exec(line)?.[1];
    if (name && name !== "genloom") facts.push([name, lines[i + 1] ?? ""]);
  });
  return { atoms, bonds: bonds.filter(([a, b]) => atoms[a] && atoms[b]), facts, solid: atoms.some((a) => Math.abs(a.z) > 0.01) };
}

/** The chain of alpha carbons of a PDB file. */
export function readPdb(text) {
  const atoms = [];
  const bonds = [];
  let chain = null;
  for (const l of text.split(/\r?\n/)) {
    if (l.startsWith("ENDMDL")) break;
    if (!l.startsWith("ATOM") || l.slice(12, 16).trim() !== "CA") continue;
    atoms.push({ x: parseFloat(l.slice(30, 38)), y: parseFloat(l.slice(38, 46)), z: parseFloat(l.slice(46, 54)), element: "C" });
    if (chain === l[21]) bonds.push([atoms.length - 2, atoms.length - 1, 1]);
    chain = l[21];
  }
  return atoms.length > 1 ? { atoms, bonds, facts: [], solid: true } : null;
}

/** Draw into a canvas; its size is that of the page. */
export function show(canvas, body) {
  const centre = ["x", "y", "z"].map((k) => body.atoms.reduce((sum, a) => sum + a[k], 0) / body.atoms.length);
  const points = body.atoms.map((a) => [a.x - centre[0], a.y - centre[1], a.z - centre[2]]);
  const reach = Math.max(1, ...points.map((p) => Math.hypot(...p))) + 0.7;
  let turn = [0.4, 0.5];
  const draw = () => {
    const scale = window.devicePixelRatio || 1;
    const wide = canvas.clientWidth, high = canvas.clientHeight;
    canvas.width = wide * scale;
    canvas.height = high * scale;
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    const zoom = Math.min(wide, high) / 2 / reach;
    const [a, b] = turn;
    const seen = points.map(([x, y, z]) => {
      const x1 = x * Math.cos(b) + z * Math.sin(b), z1 = z * Math.cos(b) - x * Math.sin(b);
      const y1 = y * Math.cos(a) - z1 * Math.sin(a), z2 = y * Math.sin(a) + z1 * Math.cos(a);
      const near = 3 * reach / (3 * reach - z2);
      return { x: wide / 2 + x1 * zoom * near, y: high / 2 - y1 * zoom * near, z: z2, near };
    });
    const things = [
      ...body.bonds.map(([i, j, order]) => ({ z: (seen[i].z + seen[j].z) / 2 - 0.1, i, j, order })),
      ...seen.map((p, i) => ({ z: p.z, atom: i })),
    ].sort((p, q) => p.z - q.z);
    for (const t of things) {
      if (t.atom !== undefined) {
        const p = seen[t.atom], element = body.atoms[t.atom].element;
        const size = (SIZES[element] ?? 0.45) * zoom * p.near * (body.atoms.length > 120 ? 0.5 : 0.8);
        const shade = c.createRadialGradient(p.x - size / 3, p.y - size / 3, size / 8, p.x, p.y, size);
        shade.addColorStop(0, "#fff");
        shade.addColorStop(0.35, COLOURS[element] ?? "#c257b0");
        shade.addColorStop(1, COLOURS[element] ?? "#c257b0");
        c.fillStyle = shade;
        c.beginPath();
        c.arc(p.x, p.y, Math.max(1.5, size), 0, 7);
        c.fill();
      } else {
        const p = seen[t.i], q = seen[t.j];
        const wideness = Math.max(1.2, 0.13 * zoom);
        const length = Math.hypot(q.x - p.x, q.y - p.y) || 1;
        const across = [(-(q.y - p.y) / length) * wideness * 1.5, ((q.x - p.x) / length) * wideness * 1.5];
        c.strokeStyle = "#9aa0a8";
        c.lineWidth = wideness;
        for (const side of t.order === 2 ? [-0.6, 0.6] : t.order === 3 ? [-1.1, 0, 1.1] : [0]) {
          c.beginPath();
          c.moveTo(p.x + side * across[0], p.y + side * across[1]);
          c.lineTo(q.x + side * across[0], q.y + side * across[1]);
          c.stroke();
        }
      }
    }
  };
  let held = null;
  canvas.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", (e) => {
    if (!held) return;
    turn = [turn[0] + (e.clientY - held[1]) / 90, turn[1] + (e.clientX - held[0]) / 90];
    held = [e.clientX, e.clientY];
    draw();
  });
  canvas.addEventListener("pointerup", () => (held = null));
  canvas.addEventListener("keydown", (e) => {
    const by = { ArrowUp: [-0.15, 0], ArrowDown: [0.15, 0], ArrowLeft: [0, -0.15], ArrowRight: [0, 0.15] }[e.key];
    if (!by) return;
    e.preventDefault();
    turn = [turn[0] + by[0], turn[1] + by[1]];
    draw();
  });
  new ResizeObserver(draw).observe(canvas);
}
