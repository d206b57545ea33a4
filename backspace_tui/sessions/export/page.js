"use strict";
const S = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const LIMIT = 400;
let step = 0, picked = "", timer = 0;

function element(kind, text, style) {
  const node = document.createElement(kind);
  node.textContent = text;
  if (style) node.className = style;
  return node;
}
// The last of the sorted entries that the step has reached.
function reached(entries) {
  let low = 0, high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle][0] <= step) low = middle + 1; else high = middle;
  }
  return low;
}
function fill(name, entries) {
  const body = at(name).querySelector(".body"), end = reached(entries), nodes = [];
  if (end > LIMIT) nodes.push(element("pre", `... ${end - LIMIT} earlier entries ...`, "m"));
  for (const [, label, text, style] of entries.slice(Math.max(0, end - LIMIT), end)) {
    const node = element("pre", "", style);
    if (label) node.append(element("b", label), " ");
    node.append(text);
    nodes.push(node);
  }
  body.replaceChildren(...nodes);
  at(name).scrollTop = at(name).scrollHeight;
}
function filesNow() {
  const files = new Map();
  for (const [when, changes] of S.edits) {
    if (when > step) break;
    for (const [path, diff] of changes) if (diff < 0) files.delete(path); else files.set(path, diff);
  }
  return files;
}
function lastEdited() {
  let found = "";
  for (const [when, changes] of S.edits) {
    if (when > step) break;
    for (const [path, diff] of changes) if (diff >= 0) found = path;
  }
  return found;
}
function showFiles() {
  const files = filesNow(), names = [...files.keys()].sort();
  const shown = files.has(picked) ? picked : files.has(lastEdited()) ? lastEdited() : names[0] || "";
  at("files").querySelector(".body").replaceChildren(...names.map((name) => {
    const [added, removed] = S.diffs[files.get(name)];
    const node = element("button", name, name === shown ? "path sel" : "path");
    node.append(element("span", `+${added} -${removed}`));
    node.addEventListener("click", () => { picked = name; show(); });
    return node;
  }));
  at("changes").querySelector("h2").textContent = shown ? `Diff  ${shown}` : "Diff";
  const body = at("changes").querySelector(".body");
  if (!shown) { body.replaceChildren(element("div", "nothing is changed yet", "m")); return; }
  const styles = { "+": "a", "-": "d", "@": "h" };
  let inside = false;
  body.replaceChildren(...S.diffs[files.get(shown)][2].replace(/\n$/, "").split("\n").map((line) => {
    inside = inside || line.startsWith("@@");
    return element("div", line, inside ? styles[line[0]] || "" : "m");
  }));
}
function show() {
  const [seq, time, stage, title] = S.steps[step];
  at("steps").value = step;
  at("where").textContent = `step ${step + 1} of ${S.steps.length}   #${seq}   ${time}   ${stage}`;
  at("title").textContent = title;
  document.body.dataset.step = step + 1;
  fill("thinking", S.thinking);
  fill("output", S.output);
  showFiles();
}
function go(to) {
  step = Math.min(Math.max(to, 0), S.steps.length - 1);
  history.replaceState(null, "", `#step=${step + 1}`);
  show();
}
function play() {
  if (timer) { clearInterval(timer); timer = 0; } else {
    if (step === S.steps.length - 1) go(0);
    timer = setInterval(() => { if (step === S.steps.length - 1) play(); else go(step + 1); }, 700);
  }
  at("play").textContent = timer ? "Pause" : "Play";
}
function fromAddress() {
  const found = /^#step=(\d+)(,play)?$/.exec(location.hash);
  step = found ? Math.min(Math.max(Number(found[1]) - 1, 0), S.steps.length - 1) : 0;
  show();
  if (found && found[2] && !timer) play();
}
const KEYS = { ArrowLeft: () => go(step - 1), h: () => go(step - 1), ArrowRight: () => go(step + 1),
  l: () => go(step + 1), Home: () => go(0), End: () => go(S.steps.length - 1), " ": play,
  PageUp: () => go(step - 20), PageDown: () => go(step + 20) };
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
at("previous").addEventListener("click", () => go(step - 1));
at("next").addEventListener("click", () => go(step + 1));
at("play").addEventListener("click", play);
at("steps").max = S.steps.length - 1;
at("steps").addEventListener("input", () => go(Number(at("steps").value)));
window.addEventListener("hashchange", fromAddress);
fromAddress();
