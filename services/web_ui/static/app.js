// The page's only script. It keeps nothing but the API key, and that in this tab's own sessionStorage.
"use strict";

const KEY = "onsight-api-key";
const TOP_CLASSES = 5;
const TIMEOUT_MS = 60000;
const API = document.querySelector('meta[name="onsight-api"]').content;

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let file = null;       // what was chosen last
let running = null;    // the request under way: only the newest may answer
let imageUrl = null;

// Private windows may refuse storage: the key is then kept in memory.
let keyInMemory = "";
function readKey() {
  try { return sessionStorage.getItem(KEY) || keyInMemory; } catch { return keyInMemory; }
}
function keepKey(key) {
  keyInMemory = key;
  try { sessionStorage.setItem(KEY, key); } catch { /* in memory, then */ }
}

async function ask(path, options = {}) {
  const key = readKey();
  const headers = { Accept: "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(API + path, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  const text = await response.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* no JSON: a proxy's own page */ }
  if (response.ok && body !== null) return body;
  const unnamed = response.ok ? "The answer is not JSON" : `The server answered ${response.status}`;
  throw Object.assign(new Error(unnamed), { problem: body || {}, status: response.status });
}

function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = !text;
}

function askForKey(isAsked) {
  element("key-form").hidden = !isAsked;
  if (isAsked) element("key").focus();
}

function showProblem(error) {
  const problem = error.problem || {};
  const isKeyWanted = error.status === 401 || error.status === 403;
  show("problem-title", problem.title || error.message);
  show("problem-detail", problem.detail && problem.detail !== problem.title ? problem.detail : "");
  show("problem-hint", problem.hint ? capitalize(problem.hint) : "");
  show("problem-id", problem.request_id ? `${problem.code}, request ${problem.request_id}` : problem.code || "");
  element("again").hidden = isKeyWanted || !file;
  element("problem").hidden = false;
  askForKey(isKeyWanted);
}

function capitalize(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function classRow(name, share, isTop) {
  const row = document.createElement("li");
  const parts = ["name", "share", "track"].map((kind) => {
    const part = document.createElement("span");
    part.className = kind;
    return part;
  });
  parts[0].textContent = name;
  parts[1].textContent = percent(share);
  parts[2].setAttribute("aria-hidden", "true");
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.style.width = percent(share).replace(" ", "");
  parts[2].append(bar);
  row.className = isTop ? "top" : "";
  row.append(...parts);
  return row;
}

function showClasses(answer) {
  const shares = Object.entries(answer.prediction).sort((one, other) => other[1] - one[1]);
  const rows = shares.map(([name, share]) => classRow(name, share, name === answer.top_class));
  element("classes").replaceChildren(...rows.slice(0, TOP_CLASSES));
  const rest = rows.slice(TOP_CLASSES);
  element("more").hidden = rest.length === 0;
  element("more").querySelector("summary").textContent = `${rest.length} more classes`;
  element("more").querySelector("ol").replaceChildren(...rest);
}

function showHeatMap(answer) {
  const heatMap = answer.raw_hm_img || "";
  const kind = heatMap.startsWith("iVBOR") ? "png" : "jpeg";
  element("heatmap").hidden = element("overlay-controls").hidden = !heatMap;
  if (heatMap) element("heatmap").src = `data:image/${kind};base64,${heatMap}`;
  else element("heatmap").removeAttribute("src");
  element("explain-class").textContent = answer.explain_class || answer.top_class;
  show("why-not", answer.why_not ? `No heat map: ${answer.why_not}` : "");
}

function showAnswer(answer, answered) {
  if (imageUrl) URL.revokeObjectURL(imageUrl);
  imageUrl = URL.createObjectURL(answered);
  element("stage").classList.remove("unshown");
  element("unshown").hidden = true;
  element("image").src = imageUrl;
  show("answer", answer.message);
  show("model", `${answer.model_name}, version ${answer.model_version}`);
  show("prediction-id", answer.prediction_id);
  show("file-name", answered.name);
  showClasses(answer);
  showHeatMap(answer);
  element("result").hidden = false;
  element("answer").focus({ preventScroll: true });
}

async function predict() {
  const asked = file;
  if (running) running.abort();
  const request = running = new AbortController();
  let isTimeOut = false;
  const timer = setTimeout(() => { isTimeOut = true; request.abort(); }, TIMEOUT_MS);
  element("problem").hidden = true;
  element("busy").hidden = false;
  element("result").classList.add("stale");
  try {
    const form = new FormData();
    form.append("file", asked, asked.name);
    const answer = await ask("/predict?explain=heatmap", { method: "POST", body: form, signal: request.signal });
    if (running === request) showAnswer(answer, asked);
  } catch (error) {
    if (running !== request) return;
    element("result").hidden = true;
    showProblem(error.status ? error : unreached(isTimeOut));
  } finally {
    clearTimeout(timer);
    if (running === request) {
      running = null;
      element("busy").hidden = true;
      element("result").classList.remove("stale");
    }
  }
}

function unreached(isTimeOut) {
  const title = isTimeOut ? "The service did not answer in time" : "The service cannot be reached";
  return { problem: { title, hint: "Is the network up? Try again in a moment; if it stays so, tell who runs the service." } };
}

async function showServing() {
  try {
    const current = await ask("/models/current");
    const model = current.serving;
    element("serving").textContent = model ? `${model.model_name}, version ${model.model_version}` : "no model is deployed yet";
    askForKey(false);
    return true;
  } catch (error) {
    if (error.status === 401 || error.status === 403) askForKey(true);
    return false;
  }
}

function choose(files) {
  if (!files || files.length === 0) return;
  file = files[0];
  predict();
}

element("form").addEventListener("submit", (event) => event.preventDefault());
element("file").addEventListener("change", (event) => {
  choose(event.target.files);
  event.target.value = "";  // the same file may be chosen again
});
element("again").addEventListener("click", predict);
element("image").addEventListener("error", () => {
  element("stage").classList.add("unshown");
  element("unshown").hidden = false;
});
element("opacity").addEventListener("input", (event) => {
  element("heatmap").style.opacity = event.target.value / 100;
  element("opacity-value").textContent = `${event.target.value} %`;
});
element("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  keepKey(element("key").value.trim());
  element("key").value = "";
  element("problem").hidden = true;
  const isAccepted = await showServing();
  if (isAccepted && file) await predict();
  else if (!isAccepted) showProblem({ status: 401, problem: { title: "The API key was not accepted", hint: "Ask who runs the service for a key with the scope predict." } });
});

// Dropping anywhere on the page works; without this the browser would leave it and open the file.
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => { event.preventDefault(); element("drop").classList.add("over"); });
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) element("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  choose(event.dataTransfer.files);
});

showServing();
