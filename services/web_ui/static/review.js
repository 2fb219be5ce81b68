// The review queue: one key labels or skips. Keys 1 to 9 are the classes in the model's own order, so that a class
// keeps its key; where classes do not exclude each other, keys switch them on and off, and Enter saves.
import {
  ask, askForPicture, classRow, element, followOpacity, keep, mayPass, onKey, recall, show, showProblem, unreached,
} from "./shared.js";

const TOP_CLASSES = 5;
const KEYED_CLASSES = 9;
const AT_ONCE = 20;
const TIMEOUT_MS = 30000;
const WHO = "onsight-reviewer";
const KEY_HINT = "Enter a key with the scopes predict and feedback above; who runs the service can make one";
const REASONS = {
  uncertain: "The model hesitates between its classes",
  drifted: "Unlike the images that the model was tested on",
  disputed: "People disagree about it",
};

let queue = [];
let current = null;       // the item on the screen
let chosen = new Set();   // the classes switched on, where there may be several
let isBusy = false;
let repeat = null;        // what "Try again" does
let done = 0;             // in this tab
let open = 0;
let urls = [];

const isMulti = () => current.classifier_type === "multi-label";

async function withPatience(work) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), TIMEOUT_MS);
  try {
    return await work(patience.signal);
  } catch (error) {
    throw error.status ? error : unreached(patience.signal.aborted);
  } finally {
    clearTimeout(timer);
  }
}

// One thing at a time: keys that are pressed meanwhile do nothing.
async function busy(work) {
  if (isBusy) return;
  isBusy = true;
  element("problem").hidden = true;
  element("result").classList.add("stale");
  try {
    await work();
  } catch (error) {
    repeat = () => busy(work);
    showProblem(error, KEY_HINT);
    element("again").hidden = !mayPass(error);
  } finally {
    isBusy = false;
    element("busy").hidden = true;
    element("result").classList.remove("stale");
  }
}

function showProgress() {
  const total = done + open;
  element("progress").hidden = total === 0;
  element("progress").max = Math.max(total, 1);
  element("progress").value = done;
  element("progress-text").textContent = `${done} done, ${open} to go`;
}

async function next() {
  if (!current && queue.length === 0) {
    element("busy").hidden = false;
    const answer = await withPatience((signal) => ask(`/review?limit=${AT_ONCE}`, { signal }));
    queue = answer.items;
    open = answer.n_open;
  }
  element("key-form").hidden = true;
  showProgress();
  current = current || queue.shift() || null;  // one whose image did not come is shown again
  element("empty").hidden = current !== null;
  element("result").hidden = current === null;
  if (current) await showItem(current);
}

async function showItem(item) {
  chosen = new Set();
  show("question", `${item.top_class}?`);
  show("reason", REASONS[item.reason] || item.reason);
  show("model", `${item.model_name}, version ${item.model_version}`);
  show("prediction-id", item.prediction_id);
  showClasses(item);
  showChoices(item);
  element("question").focus({ preventScroll: true });
  await showPictures(item);
}

function showClasses(item) {
  const shares = Object.entries(item.prediction || {}).sort((one, other) => other[1] - one[1]).slice(0, TOP_CLASSES);
  element("classes").replaceChildren(...shares.map(([name, share]) => classRow(name, share, name === item.top_class)));
}

function showChoices(item) {
  const buttons = item.classes.map((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "choice plain";
    if (index < KEYED_CLASSES) {
      const key = document.createElement("kbd");
      key.textContent = index + 1;
      button.append(key, " ");
    }
    button.append(name);
    if (isMulti()) button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(name));
    return button;
  });
  element("choices").replaceChildren(...buttons);
  element("save").hidden = !isMulti();
  if (item.classes.length === 0) element("choices").textContent = "The version is no longer in storage: only skip is left.";
}

// The image is what is judged: without it the item can only be skipped. The heat map is a help.
async function showPictures(item) {
  clearPictures();
  try {
    const path = `/predictions/${item.prediction_id}/image`;
    element("image").src = address(await withPatience((signal) => askForPicture(path, { signal })));
  } catch (error) {
    if (error.status !== 404) throw error;
    element("image").hidden = element("save").hidden = true;
    element("choices").replaceChildren();
    show("unshown", "The image is no longer kept: only skip is left.");
    return;
  }
  showHeatMap(item);
}

// Nobody waits for it, and by the time it comes another item may be on the screen.
async function showHeatMap(item) {
  const path = `/predictions/${item.prediction_id}/heatmap`;
  try {
    const evidence = await withPatience((signal) => askForPicture(path, { signal }));
    if (item !== current) return;
    element("heatmap").src = address(evidence);
    element("heatmap").hidden = element("overlay-controls").hidden = false;
    element("explain-class").textContent = item.top_class;
  } catch (error) {
    if (item === current) show("why-not", `No heat map: ${error.problem?.detail || error.problem?.title || error.message}`);
  }
}

function clearPictures() {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  for (const id of ["image", "heatmap"]) element(id).removeAttribute("src");
  element("stage").classList.remove("unshown");
  element("image").hidden = false;
  element("heatmap").hidden = element("overlay-controls").hidden = true;
  show("unshown", "");
  show("why-not", "");
}

function address(blob) {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
}

function choose(name) {
  if (isBusy || !current || !element("choices").childElementCount) return;
  if (!isMulti()) {
    decide({ label: name });
    return;
  }
  if (!chosen.delete(name)) chosen.add(name);
  [...element("choices").children].forEach((button, index) => {
    button.setAttribute("aria-pressed", String(chosen.has(current.classes[index])));
  });
}

function decide(decision) {
  if (!current) return;
  const item = current;
  const who = element("who").value.trim();
  const body = JSON.stringify({ ...decision, ...(who ? { who } : {}) });
  const options = { method: "POST", body, headers: { "Content-Type": "application/json" } };
  busy(async () => {
    if (current === item) {  // tried again, it goes on where it failed
      const answer = await send(item, options);
      current = null;
      done += answer.isMine;
      open = answer.n_open;
      const what = decision.skip ? "Skipped" : `Labelled ${decision.label ?? (decision.labels.join(", ") || "with no class")}`;
      show("note", answer.isMine ? `${what}.` : "Somebody else has decided that one. Here is the next.");
    }
    await next();
  });
}

async function send(item, options) {
  try {
    const answer = await withPatience((signal) => ask(`/review/${item.prediction_id}`, { ...options, signal }));
    return { ...answer, isMine: 1 };
  } catch (error) {
    if (error.problem?.code !== "review_closed") throw error;
    return { n_open: Math.max(0, open - 1), isMine: 0 };
  }
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement && event.target.type !== "range";
  if (isTyping || isBusy || !current || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const place = "123456789".indexOf(event.key);
  if (event.key.length === 1 && place >= 0 && place < current.classes.length) choose(current.classes[place]);
  else if (event.key.toLowerCase() === "s") decide({ skip: true });
  else if (event.key === "Enter" && !element("save").hidden && event.target.tagName !== "BUTTON") decide({ labels: [...chosen] });
  else return;
  event.preventDefault();
});
element("skip").addEventListener("click", () => { if (!isBusy) decide({ skip: true }); });
element("save").addEventListener("click", () => { if (!isBusy) decide({ labels: [...chosen] }); });
element("again").addEventListener("click", () => { if (repeat) repeat(); });
element("look").addEventListener("click", () => busy(next));
element("who").value = recall(WHO);
element("who").addEventListener("input", () => keep(WHO, element("who").value));
followOpacity();
onKey(() => (repeat || (() => busy(next)))());
busy(next);
