/** Shows the server's answers, as text and pictures. What the server sends is never markup. */

import { grey } from "./pad.js";

const SIDE = 28;
const FAINT = 0.01; // log-odds that nobody need see

const $ = (id) => document.getElementById(id);
/** Compares names for sorting. */
export const inOrder = new Intl.Collator("en", { numeric: true }).compare;
const listed = (names, type) => new Intl.ListFormat("en", { type }).format(names);
const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const floats = (base64) => new Float32Array(bytes(base64).buffer);

export const text = (id, content) => ($(id).textContent = content);
export const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

/** Names joined by "or" or by "and", in alphabetical order. */
export const oneOf = (names) => listed([...names].sort(inOrder), "disjunction");
export const allOf = (names) => listed([...names].sort(inOrder), "conjunction");

/** A fraction in percent; 0 or 100 only if it is exactly that. */
export function percent(share) {
  if (share > 0.999 && share < 1) return "over 99.9 %";
  if (share < 0.001 && share > 0) return "under 0.1 %";
  return `${Number((100 * share).toFixed(1))} %`;
}

/** A probability in percent: never 0 or 100, which it is only by the rounding of a float. */
export const chance = (share) => percent(Math.min(Math.max(share, 1e-9), 1 - 1e-9));

/**
 * Show a bar for each class.
 * @param {{ classes: string[], threshold: number, positive: string,
 *   probabilities?: Record<string, number>, label?: string }} answer without probabilities, the
 *   bars are empty
 */
export function showBars({ classes, threshold, positive, probabilities, label }) {
  const names = [...classes].sort(inOrder);
  const bars = $("bars");
  if (bars.dataset.names !== JSON.stringify(names)) {
    bars.replaceChildren(...names.flatMap(newBar));
    bars.dataset.names = JSON.stringify(names);
  }
  const two = classes.length === 2;
  names.forEach((name, i) => {
    const [word, track, share] = [...bars.children].slice(3 * i, 3 * i + 3);
    const value = probabilities?.[name];
    for (const one of [word, share]) one.classList.toggle("chosen", name === label);
    share.textContent = value === undefined ? "" : chance(value);
    track.setAttribute("aria-valuenow", (100 * (value ?? 0)).toFixed(1));
    track.style.setProperty("--share", value ?? 0);
    track.style.setProperty("--threshold", name === positive ? threshold : 1 - threshold);
    track.classList.toggle("marked", two);
    track.classList.toggle("positive", two && name === positive);
  });
  const other = names.find((name) => name !== positive);
  const rule = `${positive} above ${percent(threshold)}, else ${other}`;
  text("threshold", two ? `The lines mark the threshold: ${rule}.`.replaceAll(" %", "\u00a0%") : "");
}

/** A class's name, its bar, and its share. */
function newBar(name) {
  const [word, track, share] = ["span", "div", "span"].map((tag) => document.createElement(tag));
  word.textContent = name;
  share.className = "share";
  track.className = "bar";
  track.setAttribute("role", "meter");
  track.setAttribute("aria-label", `Probability of ${name}`);
  track.setAttribute("aria-valuemin", "0");
  track.setAttribute("aria-valuemax", "100");
  track.append(document.createElement("div"));
  return [word, track, share];
}

/** Show what the model saw, and which parts are evidence for which class; nothing without an answer. */
export function showReasons(answer) {
  const seen = bytes(answer?.image ?? "");
  fill("seen", seen, (level) => [grey(level), 1]);
  const values = floats(answer?.contributions ?? answer?.occlusion ?? "");
  const most = values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
  const style = getComputedStyle(document.body);
  const colours = ["--negative", "--positive"].map((one) => style.getPropertyValue(one));
  const ink = style.getPropertyValue("--ink");
  const ground = seen[0];
  const below = answer?.occlusion ? seen : [];
  fill("pixels", below, (level) => [ink, (0.4 * Math.abs(level - ground)) / 255]);
  if (most > FAINT) {
    const strength = answer.occlusion ? 0.85 : 1;
    const paint = (value) => [colours[Number(value > 0)], (strength * Math.abs(value)) / most];
    fill("pixels", values, paint, { clear: false });
  }
  if (!answer) return;
  const { positive, classes } = answer;
  const others = classes.filter((name) => name !== positive);
  text("for", positive);
  text("against", others.length === 1 ? `for ${others[0]}` : `against ${positive}`);
  const faint = "No small part of the picture decides alone";
  text("pixels-are", most > FAINT ? `Evidence for ${oneOf(classes)}` : faint);
  text("scale", scale(answer, most.toFixed(2)));
  $("reasons").hidden = !values.length;
}

/** What the colours of the map mean, in numbers. */
function scale({ positive, contributions }, most) {
  const strongest = `The strongest colour is ${most}.`;
  if (contributions) {
    const shown = `The colours show what each pixel contributes to the log-odds of ${positive}.`;
    return `${shown} ${strongest}`;
  }
  return (
    `The colours show how much the log-odds of ${positive} drop when the 6 by 6 pixels around a ` +
    `place are covered with the grey of the paper (an occlusion map). ${strongest}`
  );
}

/** Fill a picture from values; `ink` returns the colour and opacity of one. */
function fill(id, values, ink, { clear = true } = {}) {
  const context = $(id).getContext("2d");
  if (clear) context.clearRect(0, 0, SIDE, SIDE);
  values.forEach((value, i) => {
    [context.fillStyle, context.globalAlpha] = ink(value);
    context.fillRect(i % SIDE, Math.floor(i / SIDE), 1, 1);
  });
}
