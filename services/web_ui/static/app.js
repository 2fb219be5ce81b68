// The page to try the deployed model.
import {
  ask, askForKey, classRow, element, followOpacity, isKeyWanted, mayPass, onKey, show, showProblem, unreached,
} from "./shared.js";

const TOP_CLASSES = 5;
const TIMEOUT_MS = 60000;
const KEY_HINT = "Enter a key with the scope predict above; who runs the service can make one";

let file = null;       // what was chosen last
let running = null;    // the request under way: only the newest may answer
let imageUrl = null;

function showRefusal(error) {
  showProblem(error, KEY_HINT);
  element("again").hidden = !mayPass(error) || !file;
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

async function askFor(asked, signal) {
  const form = new FormData();
  form.append("file", asked, asked.name);
  const options = { method: "POST", body: form, signal };
  try {
    return await ask("/predict?explain=heatmap", options);
  } catch (error) {
    if (error.problem?.code !== "unexplainable_model") throw error;
    return { ...await ask("/predict", options), why_not: error.problem.detail };
  }
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
    const answer = await askFor(asked, request.signal);
    if (running === request) showAnswer(answer, asked);
  } catch (error) {
    if (running !== request) return;
    element("result").hidden = true;
    showRefusal(error.status ? error : unreached(isTimeOut));
  } finally {
    clearTimeout(timer);
    if (running === request) {
      running = null;
      element("busy").hidden = true;
      element("result").classList.remove("stale");
    }
  }
}

async function showServing() {
  try {
    const current = await ask("/models/current");
    const model = current.serving;
    element("serving").textContent = model ? `${model.model_name}, version ${model.model_version}` : "no model is deployed yet";
    askForKey(false);
    return true;
  } catch (error) {
    if (isKeyWanted(error)) askForKey(true);
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
followOpacity();
onKey(async () => {
  const isAccepted = await showServing();
  if (isAccepted && file) await predict();
  else if (!isAccepted) showRefusal({ status: 401, problem: { title: "The API key was not accepted" } });
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
