// What the pages share: asking the API, the key, problems, bars. They keep nothing but the API key and the reviewer's
// name, and those in this tab's own sessionStorage.

const API = document.querySelector('meta[name="onsight-api"]').content;
const KEY = "onsight-api-key";

export const element = (id) => document.getElementById(id);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Private windows may refuse storage: what is kept is then kept in memory.
const inMemory = new Map();
export function recall(name) {
  try { return sessionStorage.getItem(name) || inMemory.get(name) || ""; } catch { return inMemory.get(name) || ""; }
}
export function keep(name, text) {
  inMemory.set(name, text);
  try { sessionStorage.setItem(name, text); } catch { /* in memory, then */ }
}

async function fetchFrom(path, options) {
  const key = recall(KEY);
  const headers = { Accept: "application/json", ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  return fetch(API + path, { ...options, headers, credentials: "same-origin", cache: "no-store" });
}

async function refusal(response, text) {
  let body = {};
  try { body = JSON.parse(text) || {}; } catch { /* no JSON: a proxy's own page */ }
  const unnamed = response.ok ? "The answer is not JSON" : `The server answered ${response.status}`;
  return Object.assign(new Error(unnamed), { problem: body, status: response.status });
}

export async function ask(path, options = {}) {
  const response = await fetchFrom(path, options);
  const text = await response.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* see below */ }
  if (response.ok && body !== null) return body;
  throw await refusal(response, text);
}

// A picture as a blob: an <img> could not send the key.
export async function askForPicture(path, options = {}) {
  const response = await fetchFrom(path, { ...options, headers: { Accept: "image/*" } });
  if (!response.ok) throw await refusal(response, await response.text());
  return response.blob();
}

export function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = !text;
}

export function askForKey(isAsked) {
  element("key-form").hidden = !isAsked;
  if (isAsked) element("key").focus();
}

export const isKeyWanted = (error) => error.status === 401 || error.status === 403;
// The same request again is refused again, unless the service or the way to it was at fault.
export const mayPass = (error) => !error.status || error.status >= 500 || error.status === 408 || error.status === 429;

export function showProblem(error, keyHint) {
  const problem = error.problem || {};
  // The API's own hint speaks of headers.
  const hint = isKeyWanted(error) ? keyHint : problem.hint;
  show("problem-title", problem.title || error.message);
  show("problem-detail", problem.detail && problem.detail !== problem.title ? capitalize(problem.detail) : "");
  show("problem-hint", hint ? capitalize(hint) : "");
  show("problem-id", problem.request_id ? `${problem.code}, request ${problem.request_id}` : problem.code || "");
  element("problem").hidden = false;
  askForKey(isKeyWanted(error));
}

export function unreached(isTimeOut) {
  const title = isTimeOut ? "The service did not answer in time" : "The service cannot be reached";
  return { problem: { title, hint: "Is the network up? Try again in a moment; if it stays so, tell who runs the service." } };
}

export function onKey(use) {
  element("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    keep(KEY, element("key").value.trim());
    element("key").value = "";
    element("problem").hidden = true;
    await use();
  });
}

export function followOpacity() {
  element("opacity").addEventListener("input", (event) => {
    element("heatmap").style.opacity = event.target.value / 100;
    element("opacity-value").textContent = `${event.target.value} %`;
  });
  element("image").addEventListener("error", () => {
    element("stage").classList.add("unshown");
    element("unshown").hidden = false;
  });
}

export function capitalize(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function classRow(name, share, isTop) {
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
