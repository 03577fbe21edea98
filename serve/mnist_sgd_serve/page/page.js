/**
 * The server's page: draw something or give it a picture, and see what the model predicts and why.
 *
 * After each change of the paper, also while a stroke is being drawn, the paper is sent to the
 * server as an image file, with one request in flight at most; the newest paper is sent next.
 * Nothing is loaded from another origin.
 */

import { allOf, inOrder, oneOf } from "./answer.js";
import { chance, percent, sentence, showBars, showReasons, text } from "./answer.js";
import { hasCameraApp, hasPreview, photograph } from "./camera.js";
import { Pad, grey } from "./pad.js";
import { describeModel, hasToken, loadExample, predict, setToken } from "./server.js";

const PAUSE = 60; // milliseconds between two requests while a stroke is being drawn
const MOST_NAMED = 4; // classes in the title
const HOW = matchMedia("(hover: none)").matches
  ? "Draw it, or choose a picture."
  : "Draw it, or drop or paste a picture.";

const $ = (id) => document.getElementById(id);
const verdict = $("verdict");

/** What the server says of its model; null until it has. */
let model = null;

const pad = new Pad($("pad"), {
  penWidth: () => $("width").value / 100,
  changed: () => {
    text("said", "");
    showGhost();
    ask();
  },
});

// Asking

let changed = false; // the paper, since the last request
let asking = false;

/** Ask what is on the paper: now, or when the request in flight has ended. */
async function ask() {
  changed = true;
  if (asking) return;
  asking = true;
  verdict.ariaBusy = "true"; // a screen reader waits for the end of it
  while (changed) {
    changed = false;
    await askOnce();
    if (pad.busy) await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  asking = false;
  verdict.ariaBusy = "false";
}

async function askOnce() {
  const { drawing } = pad;
  if (!model && !pad.empty && !(await introduce())) return;
  const image = await pad.image();
  const result = image && (await predict(image));
  if (drawing !== pad.drawing) return; // it is of a paper that is no more
  if (result?.error && pad.busy) return; // there will be more ink
  if (result?.version && result.version !== model.version) await introduce();
  show(result);
}

let introducing = null;

/** Learn about the model; returns whether it is known now. */
function introduce() {
  introducing ??= describeModel()
    .then(meet)
    .finally(() => (introducing = null));
  return introducing;
}

function meet(answer) {
  if (answer.error) {
    show(answer);
    return false;
  }
  const examples = answer.examples.sort((one, other) => inOrder(one.label, other.label));
  model = { ...answer, examples };
  nameClasses();
  showFacts();
  showExamples();
  if (pad.empty) show(null);
  return true;
}

// The model

const isWhole = () => model?.preprocessing === "fit" || model?.preprocessing === "stretch";
const areDigits = () => model?.classes.every((name) => /^\d$/.test(name));

/** Name the classes, and adapt the page to the kind of pictures that the model knows. */
function nameClasses() {
  const { classes, paper } = model;
  if (classes.length <= MOST_NAMED) text("question", `${oneOf(classes)}?`);
  document.title = $("question").textContent;
  text("knows", `The model knows only ${allOf(classes)}, and every picture gets one of these labels.`);
  const whole = isWhole();
  document.body.classList.toggle("whole", whole);
  text("how", whole ? "Choose, drop or paste a picture; or draw." : HOW);
  text("choose", whole ? "Choose a picture…" : "Picture…");
  if (whole) $("sheet").before($("choose"));
  else $("tools").insertBefore($("choose"), $("file"));
  pad.setPaper(whole ? (paper ?? 255) : null);
  $("ghost").style.color = whole ? grey((paper ?? 255) > 117 ? 0 : 255) : "";
  showBars(model);
  showGhost();
}

/** Say on the empty pad what to do. */
function showGhost() {
  const { picture } = pad.content;
  const hidden = picture && !picture.bitmap;
  const ways = isWhole() ? "Drop a picture here, or draw" : "Draw here";
  const invitation = areDigits() && !isWhole() ? `Draw ${oneOf(model.classes)} here` : ways;
  const name = picture?.file.name ?? "The picture";
  text("ghost", hidden ? `${name} cannot be shown here` : invitation);
  $("ghost").hidden = !hidden && !pad.empty;
}

function showFacts() {
  const { model: kind, version, accuracy, images } = model;
  const facts = [[kind && `Model ${kind}`, `version ${version}`].filter(Boolean).join(", ")];
  if (accuracy !== null && images !== null) {
    const right = Math.round(accuracy * images).toLocaleString("en");
    const all = `${images.toLocaleString("en")} validation images`;
    facts.push(`${right} of ${all} classified correctly (${percent(accuracy)})`);
  }
  text("facts", facts.map(sentence).join(" "));
  const header = hasToken() ? ' -H "Authorization: Bearer $TOKEN"' : "";
  text("curl", `curl --data-binary @picture.png${header} ${new URL("predict", document.baseURI)}`);
  $("program").hidden = false;
}

/** Show the example pictures; a click lays one on the paper. */
async function showExamples() {
  for (const image of $("examples").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const { version } = model;
  const files = await Promise.all(model.examples.map(({ path }) => loadExample(path)));
  if (version !== model.version) return;
  const buttons = files.map((file, i) => {
    const [button, image] = ["button", "img"].map((tag) => document.createElement(tag));
    button.type = "button";
    button.setAttribute("aria-label", `Example ${i + 1}: ${model.examples[i].label}`);
    image.alt = "";
    if (file instanceof Blob) image.src = URL.createObjectURL(file);
    else button.hidden = true;
    button.append(image);
    button.addEventListener("click", () => pad.lay(file));
    return button;
  });
  $("examples").replaceChildren(...buttons);
  $("examples").hidden = $("examples-are").hidden = !buttons.length;
}

// Results

/** Show a response, an error, or null for an empty paper. */
function show(result) {
  const answer = result?.error === undefined ? result : null;
  document.body.classList.toggle("waiting", !answer);
  document.body.classList.toggle("trouble", Boolean(result?.error));
  $("gate").hidden = !result?.locked;
  const [label, detail, note] = words(result);
  text("label", label);
  text("detail", detail);
  text("note", note);
  if (answer ?? model) showBars(answer ?? model);
  showReasons(answer);
}

/** The prediction, details, and a note. */
function words(result) {
  const beginning = isWhole() ? "a picture or the first stroke" : "the first stroke";
  if (!result) return ["", `The prediction appears with ${beginning}.`, ""];
  const { error, blank, label, confidence, milliseconds, trip, inverted } = result;
  if (error) {
    const nothing = areDigits() ? "No digit here" : "Nothing here";
    return [blank ? nothing : "No answer", sentence(error), ""];
  }
  const time = `${milliseconds.toFixed(1)} ms in the server, ${trip.toFixed(0)} ms in total.`;
  const note = inverted ? `${time} Dark on light, so it was inverted.` : time;
  return [label, `Probability ${chance(confidence)}`, note];
}

// Pictures

/** Lay the first of the given files on the paper, and say if there was more or none. */
async function take(files, otherwise) {
  if (files.length) await pad.lay(files[0]);
  if (files.length > 1) text("said", `One picture at a time: this is ${files[0].name}, the first.`);
  if (!files.length) text("said", otherwise);
}

const NO_PICTURE = "not a picture: save the picture as a file, and drop or choose that.";

addEventListener("paste", (event) => {
  if (event.target === $("token")) return;
  take(event.clipboardData.files, `What was pasted is ${NO_PICTURE}`);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const kind = event.dataTransfer.types.includes("text/uri-list") ? "a link" : "text";
  take(event.dataTransfer.files, `What was dropped is ${kind}, ${NO_PICTURE}`);
});

for (const [button, input] of [["choose", "file"], ["photograph", "shot"]]) {
  $(input).addEventListener("change", ({ target }) => {
    take([...target.files], "");
    target.value = ""; // so that the same file can be chosen again
  });
  $(button).addEventListener("click", () => {
    if (button === "choose" || hasCameraApp) $(input).click();
    else usePreview();
  });
}

async function usePreview() {
  const { photograph: picture, error } = await photograph();
  if (picture) await pad.lay(picture);
  if (error) text("said", sentence(error));
}

// The rest

addEventListener("keydown", (event) => {
  if (event.target === $("token") || $("camera").open) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") pad.undo();
  else if (event.key === "Delete" || event.key === "Backspace") pad.clear();
  else return;
  event.preventDefault();
});
$("undo").addEventListener("click", () => pad.undo());
$("clear").addEventListener("click", () => pad.clear());

$("copy").addEventListener("click", async () => {
  getSelection().selectAllChildren($("curl")); // all that a page without TLS may do
  const writing = navigator.clipboard?.writeText($("curl").textContent);
  await writing?.then(() => text("copy", "Copied")).catch(() => null);
});

$("gate").addEventListener("submit", async (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token").value = "";
  if ((await introduce()) && !pad.empty) ask();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pad.render();
  ask();
});

$("photograph").hidden = !hasCameraApp && !hasPreview;
$("program").hidden = true;
showGhost();
show(null);
introduce();
