/**
 * The server's page: draw something or upload a picture, and see what the model predicts and why.
 *
 * The paper is a list of marks: strokes, pictures and wipes. Undo removes the last one. After each
 * change the paper is sent to the server as an image file, with one request in flight at most; the
 * newest paper is sent next. Nothing is loaded from another origin, and the server's responses are
 * inserted as text only.
 *
 * @typedef {{ x: number, y: number, width: number }} Point in shares of the paper's side
 * @typedef {{ kind: "stroke", points: Point[] }} Stroke
 * @typedef {{ kind: "picture", file: Blob, bitmap: ImageBitmap | null }} Picture
 * @typedef {Stroke | Picture | { kind: "wipe" }} Mark
 */

const SIDE = 280; // of the drawing that is sent, in pixels: ten for each of the model's
const STEP = 1 / 28; // of the pen under the arrow keys
const PATIENCE = 20_000; // milliseconds

const $ = (id) => document.getElementById(id);
const pad = $("pad");
const verdict = $("verdict");

/** @type {Mark[]} */
const marks = [];
/** @type {Stroke | null} the stroke that is being drawn, also the last of the marks */
let stroke = null;
const pen = { x: 0.3, y: 0.2 }; // where the arrow keys have moved it
let aiming = false; // the arrow keys are in use, so that the page shows the pen
/** The grey level of paper that the model was trained on, 0 to 255; null for any. */
let paper = null;
let whole = false; // the model sees the whole picture, not the drawn thing alone
let digits = false; // all classes are digits

// The paper

/** The picture that lies on the paper, or else the strokes since it was last empty. */
function visible() {
  const last = marks.at(-1);
  if (last?.kind === "picture") return { picture: last, strokes: [] };
  const start = marks.findLastIndex((mark) => mark.kind !== "stroke") + 1;
  return { picture: null, strokes: marks.slice(start) };
}

/** Draw strokes on a square of `side` pixels: curves through the midpoints of their points. */
function paint(context, side, strokes) {
  context.lineCap = context.lineJoin = "round";
  for (const { points } of strokes) {
    let from = points[0];
    points.forEach((point, i) => {
      const next = points[i + 1] ?? point;
      const to = { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
      context.lineWidth = point.width * side;
      context.beginPath();
      context.moveTo(from.x * side, from.y * side);
      context.quadraticCurveTo(point.x * side, point.y * side, to.x * side, to.y * side);
      context.stroke();
      from = to;
    });
  }
}

/** Draw the paper on the page, at the resolution of the screen. */
function render() {
  const side = Math.round(pad.clientWidth * devicePixelRatio);
  if (pad.width !== side) pad.width = pad.height = side;
  const context = pad.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.strokeStyle = getComputedStyle(pad).color;
  const { picture, strokes } = visible();
  if (picture?.bitmap) {
    const scale = side / Math.max(picture.bitmap.width, picture.bitmap.height);
    const [width, height] = [picture.bitmap.width * scale, picture.bitmap.height * scale];
    context.imageSmoothingEnabled = scale < 4; // pixels that are meant to be seen stay sharp
    context.drawImage(picture.bitmap, (side - width) / 2, (side - height) / 2, width, height);
  }
  paint(context, side, strokes);
  if (aiming) {
    context.lineWidth = 1.5 * devicePixelRatio;
    context.setLineDash(stroke ? [] : [2 * context.lineWidth]);
    context.beginPath();
    context.arc(pen.x * side, pen.y * side, side / 40, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
  }
}

const grey = (level) => `rgb(${level} ${level} ${level})`;
const inkOn = (level) => grey(level > 127 ? 0 : 255);

/**
 * Strokes as an image file: as the pad shows them, if that matters to the model; else white ink on
 * black paper.
 */
function drawn(strokes) {
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
  context.fillStyle = grey(paper ?? 0);
  context.fillRect(0, 0, SIDE, SIDE);
  context.strokeStyle = inkOn(paper ?? 0);
  paint(context, SIDE, strokes);
  return context.canvas.convertToBlob();
}

function changed() {
  stroke = null;
  render();
  ask();
}

function undo() {
  marks.pop();
  changed();
}

function clear() {
  if (marks.length && marks.at(-1).kind !== "wipe") marks.push({ kind: "wipe" });
  changed();
}

/** Put a picture on the paper. One that the browser cannot show is sent to the server anyway. */
async function lay(file) {
  if (!file) return;
  const bitmap = await createImageBitmap(file).catch(() => null);
  marks.push({ kind: "picture", file, bitmap });
  changed();
}

// Drawing

function begin(point) {
  stroke = { kind: "stroke", points: [point] };
  marks.push(stroke);
  render();
}

function extend(...points) {
  stroke.points.push(...points);
  render();
}

function end() {
  if (stroke) changed();
}

const penWidth = () => $("width").value / 100;

/** A pointer's place on the paper, and the width of its line, which a stylus varies by half. */
function at({ clientX, clientY, pointerType, pressure }) {
  const { left, top, width: side } = pad.getBoundingClientRect();
  const width = penWidth() * (pointerType === "pen" ? 0.5 + pressure : 1);
  return { x: (clientX - left) / side, y: (clientY - top) / side, width };
}

pad.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  aiming = false;
  begin(at(event));
});
pad.addEventListener("pointermove", (event) => {
  if (!stroke || !pad.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents();
  extend(...(events.length ? events : [event]).map(at));
});
pad.addEventListener("lostpointercapture", end); // the pointer went up, or was taken away

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!(event.key in ARROWS) && event.key !== " ") return;
  event.preventDefault();
  aiming = true;
  const [x, y] = ARROWS[event.key] ?? [0, 0];
  pen.x = Math.min(Math.max(pen.x + x * STEP, 0), 1);
  pen.y = Math.min(Math.max(pen.y + y * STEP, 0), 1);
  const point = { ...pen, width: penWidth() };
  if (event.key === " " && stroke) end();
  else if (event.key === " ") begin(point);
  else if (stroke) extend(point);
  else render();
});
pad.addEventListener("focus", () => {
  aiming = pad.matches(":focus-visible");
  render();
});
pad.addEventListener("blur", () => {
  aiming = false;
  end();
  render();
});

addEventListener("keydown", (event) => {
  if (event.target === $("token")) return; // where they change the text
  if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
  else if (event.key === "Delete" || event.key === "Backspace") clear();
  else return;
  event.preventDefault();
});
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", ({ target }) => {
  lay(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
addEventListener("paste", (event) => lay(event.clipboardData.files[0]));
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  lay(event.dataTransfer.files[0]);
});

// Requests

let token = sessionStorage.getItem("token"); // of a server that asks for one; gone with the tab
let waiting = false; // the paper has changed since the last request
let asking = false;

/** Ask what is on the paper: now, or when the request in flight has ended. */
async function ask() {
  waiting = true;
  if (asking) return;
  asking = true;
  verdict.ariaBusy = "true"; // a screen reader waits for the end of it
  while (waiting) {
    waiting = false;
    const { picture, strokes } = visible();
    const image = picture?.file ?? (strokes.length ? await drawn(strokes) : null);
    const result = image && (await send(image));
    if (!waiting) show(result); // else it is of a paper that is no more
  }
  asking = false;
  verdict.ariaBusy = "false";
}

/** Send an image file; returns the server's response, or an error message. */
async function send(image) {
  const start = performance.now();
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    const response = await fetch("predict?explain=1", {
      method: "POST",
      headers,
      body: image,
      signal: AbortSignal.timeout(PATIENCE),
    });
    const answer = await response.json();
    if (response.ok) return { ...answer, trip: performance.now() - start };
    if (response.status === 401) {
      return { error: `the server ${token ? "takes another" : "asks for a"} token`, locked: true };
    }
    const error = answer.error ?? `The server answered ${response.status}`;
    return { error, blank: response.status === 422 };
  } catch (error) {
    if (error.name === "TimeoutError") return { error: "The server did not answer in time" };
    if (error.name === "SyntaxError") return { error: "The server's answer cannot be read" };
    return { error: "The server cannot be reached" };
  }
}

// Results

function text(id, content) {
  $(id).textContent = content;
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;
const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** A fraction in percent; 0 or 100 only if it is exactly that. */
function percent(share) {
  if (share > 0.999 && share < 1) return "over 99.9 %";
  if (share < 0.001 && share > 0) return "under 0.1 %";
  return `${Number((100 * share).toFixed(1))} %`;
}

/** Show a response, an error, or null for an empty paper. */
function show(result) {
  const answer = result?.error === undefined ? result : null;
  document.body.classList.toggle("waiting", !answer);
  document.body.classList.toggle("trouble", Boolean(result?.error));
  $("gate").hidden = !result?.locked;
  if (answer) name(answer);
  const [label, detail, note] = words(result);
  text("label", label);
  text("detail", detail);
  text("note", note);
  $("chart").style.setProperty("--probability", answer?.probability ?? "var(--threshold)");
  $("bar").setAttribute("aria-valuenow", (100 * (answer?.probability ?? 0)).toFixed(1));
  fill("seen", bytes(answer?.image ?? ""), (level) => [grey(level), 1]);
  showAdded(new Float32Array(bytes(answer?.contributions ?? "").buffer));
}

/** The prediction, details, and a note. */
function words(result) {
  const invitation = `The answer comes with ${whole ? "a picture or " : ""}the first stroke.`;
  if (!result) return ["", invitation, ""];
  const { error, blank } = result;
  if (error) {
    return [blank ? `${digits ? "No digit" : "Nothing"} here` : "No answer", sentence(error), ""];
  }
  const { label, confidence, milliseconds, trip, inverted } = result;
  const time = `${milliseconds.toFixed(1)} ms in the server, ${trip.toFixed(0)} ms in all.`;
  const note = inverted ? `${time} Dark on light: inverted.` : time;
  return [label, `Probability ${percent(confidence)}`, note];
}

/** Show the class names, known from the first response on, and adapt the page to the model. */
function name({ classes, positive, threshold, contributions, preparation, paper: known }) {
  digits = classes.every((one) => /^\d$/.test(one));
  adapt(preparation === "fit" || preparation === "stretch", known ?? 255);
  const negative = classes.find((one) => one !== positive);
  document.title = `${positive} or ${negative}?`;
  text("question", document.title);
  for (const one of document.querySelectorAll(".positive")) one.textContent = positive;
  for (const one of document.querySelectorAll(".negative")) one.textContent = negative;
  text("threshold", `threshold ${percent(threshold)}`);
  $("chart").style.setProperty("--threshold", threshold);
  $("bar").setAttribute("aria-label", `Probability of ${positive}`);
  $("added").hidden = contributions === null;
}

/**
 * For a model of whole pictures, ask for pictures first, and draw on the paper that it was trained
 * on. A paper sent before this was known is sent again.
 */
function adapt(wholePictures, known) {
  const level = wholePictures ? known : null;
  if (whole === wholePictures && paper === level) return;
  [whole, paper] = [wholePictures, level];
  document.body.classList.toggle("whole", whole);
  const ways = ["Draw it, or drop or paste a picture.", "Choose, drop or paste a picture; or draw."];
  text("how", ways[Number(whole)]);
  text("choose", whole ? "Choose a picture…" : "Picture…");
  if (whole) pad.before($("choose"));
  else $("tools").insertBefore($("choose"), $("file"));
  pad.style.backgroundColor = whole ? grey(paper) : "";
  pad.style.color = whole ? inkOn(paper) : "";
  render();
  if (visible().strokes.length) ask();
}

/** Colour each pixel by its class, stronger for larger contributions; empty without any. */
function showAdded(added) {
  const most = Math.max(0, ...added.map(Math.abs));
  const style = getComputedStyle(document.body);
  const colours = ["--against", "--for"].map((one) => style.getPropertyValue(one));
  fill("pixels", added, (value) => [colours[Number(value > 0)], most && Math.abs(value) / most]);
  text("least", `−${most ? most.toFixed(2) : ""}`);
  text("most", `+${most ? most.toFixed(2) : ""}`);
}

/** Fill a picture of 28x28 pixels from values; `ink` returns the colour and opacity of one. */
function fill(id, values, ink) {
  const context = $(id).getContext("2d");
  context.clearRect(0, 0, 28, 28);
  values.forEach((value, i) => {
    [context.fillStyle, context.globalAlpha] = ink(value);
    context.fillRect(i % 28, Math.floor(i / 28), 1, 1);
  });
}

/** Send an invisible stroke to learn the class names. */
async function introduce() {
  const points = [0.2, 0.8].map((y) => ({ x: 0.5, y, width: 0.08 }));
  const result = await send(await drawn([{ kind: "stroke", points }]));
  if (result.error === undefined) name(result);
  if (!marks.length) show(result.error === undefined ? null : result);
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("token", token);
  $("token").value = "";
  introduce();
  if (marks.length) ask();
});

addEventListener("resize", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
render();
show(null);
introduce();
