/**
 * A square of paper to draw on, with the mouse, a finger, a stylus or the keyboard, and to lay
 * pictures on. It knows nothing of the page around it.
 *
 * The paper is a list of marks: strokes, pictures and wipes. Undo removes the last one. A stroke on
 * a picture begins a new drawing.
 *
 * @typedef {{ x: number, y: number, width: number }} Point in shares of the paper's side
 * @typedef {{ kind: "stroke", points: Point[] }} Stroke
 * @typedef {{ kind: "picture", file: Blob, bitmap: ImageBitmap | null }} Picture
 * @typedef {Stroke | Picture | { kind: "wipe" }} Mark
 */

const SIDE = 280; // of the drawing as a file, in pixels: ten for each of the model's
const STEP = 1 / 28; // of the pen under the arrow keys
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export const grey = (level) => `rgb(${level} ${level} ${level})`;
const inkOn = (level) => grey(level > 127 ? 0 : 255);

export class Pad {
  /** @type {Mark[]} */
  #marks = [];
  /** @type {Stroke | null} the stroke that is being drawn, also the last of the marks */
  #stroke = null;
  #pen = { x: 0.3, y: 0.2 }; // where the arrow keys have moved it
  #aiming = false; // the arrow keys are in use, so that the pen is shown
  #paper = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{ penWidth: () => number, changed: () => void }} options `penWidth` returns the width
   *   of a line in shares of the paper's side; `changed` is called after each change of the paper
   */
  constructor(canvas, { penWidth, changed }) {
    this.canvas = canvas;
    this.penWidth = penWidth;
    this.changed = changed;
    /** Counts the drawings and pictures: a stroke that grows does not begin another. */
    this.drawing = 0;
    this.#listen();
    new ResizeObserver(() => this.render()).observe(canvas);
    this.render();
  }

  /** Whether a stroke is being drawn. */
  get busy() {
    return this.#stroke !== null;
  }

  /** The picture on the paper, or else the strokes since it was last empty. */
  get content() {
    const last = this.#marks.at(-1);
    if (last?.kind === "picture") return { picture: last, strokes: [] };
    const start = this.#marks.findLastIndex((mark) => mark.kind !== "stroke") + 1;
    return { picture: null, strokes: this.#marks.slice(start) };
  }

  get empty() {
    const { picture, strokes } = this.content;
    return !picture && !strokes.length;
  }

  /**
   * What is on the paper as an image file, or null if it is empty. Strokes look as on the pad if
   * the grey of the paper is set; else they are white on black.
   * @returns {Promise<Blob | null>}
   */
  async image() {
    const { picture, strokes } = this.content;
    if (picture || !strokes.length) return picture?.file ?? null;
    const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
    context.fillStyle = grey(this.#paper ?? 0);
    context.fillRect(0, 0, SIDE, SIDE);
    context.strokeStyle = inkOn(this.#paper ?? 0);
    paint(context, SIDE, strokes);
    return context.canvas.convertToBlob();
  }

  /** Set the grey level of the paper, 0 to 255, or null for the colours of the page. */
  setPaper(level) {
    this.#paper = level;
    this.canvas.style.backgroundColor = level === null ? "" : grey(level);
    this.canvas.style.color = level === null ? "" : inkOn(level);
    this.render();
  }

  /** Lay a picture on the paper; one that the browser cannot show stays invisible. */
  async lay(file) {
    const bitmap = await createImageBitmap(file).catch(() => null);
    this.#marks.push({ kind: "picture", file, bitmap });
    this.#begun();
  }

  undo() {
    this.#marks.pop();
    this.#begun();
  }

  clear() {
    const last = this.#marks.at(-1);
    if (last && last.kind !== "wipe") this.#marks.push({ kind: "wipe" });
    this.#begun();
  }

  /** Draw the paper at the resolution of the screen. */
  render() {
    const { canvas } = this;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, side, side);
    context.strokeStyle = getComputedStyle(canvas).color;
    const { picture, strokes } = this.content;
    if (picture?.bitmap) {
      const scale = side / Math.max(picture.bitmap.width, picture.bitmap.height);
      const [width, height] = [picture.bitmap.width * scale, picture.bitmap.height * scale];
      context.imageSmoothingEnabled = scale < 4; // pixels that are meant to be seen stay sharp
      context.drawImage(picture.bitmap, (side - width) / 2, (side - height) / 2, width, height);
    }
    paint(context, side, strokes);
    if (this.#aiming) this.#showPen(context, side);
  }

  #showPen(context, side) {
    context.lineWidth = 1.5 * devicePixelRatio;
    context.setLineDash(this.#stroke ? [] : [2 * context.lineWidth]);
    context.beginPath();
    context.arc(this.#pen.x * side, this.#pen.y * side, side / 40, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
  }

  /** The paper is another one now. */
  #begun() {
    this.#stroke = null;
    this.drawing += 1;
    this.render();
    this.changed();
  }

  #begin(point) {
    if (!this.content.strokes.length) this.drawing += 1;
    this.#stroke = { kind: "stroke", points: [point] };
    this.#marks.push(this.#stroke);
    this.render();
    this.changed();
  }

  #extend(...points) {
    this.#stroke.points.push(...points);
    this.render();
    this.changed();
  }

  #end() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.render();
    this.changed();
  }

  /** A pointer's place on the paper, and the width of its line, which a stylus varies by half. */
  #at({ clientX, clientY, pointerType, pressure }) {
    const { left, top, width: side } = this.canvas.getBoundingClientRect();
    const width = this.penWidth() * (pointerType === "pen" ? 0.5 + pressure : 1);
    return { x: (clientX - left) / side, y: (clientY - top) / side, width };
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.#aiming = false;
      this.#begin(this.#at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#stroke || !canvas.hasPointerCapture(event.pointerId)) return;
      const events = event.getCoalescedEvents();
      this.#extend(...(events.length ? events : [event]).map((one) => this.#at(one)));
    });
    canvas.addEventListener("pointercancel", () => {
      if (this.#stroke) this.undo(); // a second finger came, to scroll or to zoom
    });
    canvas.addEventListener("lostpointercapture", () => this.#end());
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("focus", () => {
      this.#aiming = canvas.matches(":focus-visible");
      this.render();
    });
    canvas.addEventListener("blur", () => {
      this.#aiming = false;
      this.#end();
      this.render();
    });
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!(event.key in ARROWS) && event.key !== " ") return;
    event.preventDefault();
    this.#aiming = true;
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    this.#pen.x = Math.min(Math.max(this.#pen.x + x * STEP, 0), 1);
    this.#pen.y = Math.min(Math.max(this.#pen.y + y * STEP, 0), 1);
    const point = { ...this.#pen, width: this.penWidth() };
    if (event.key === " " && this.#stroke) this.#end();
    else if (event.key === " ") this.#begin(point);
    else if (this.#stroke) this.#extend(point);
    else this.render();
  }
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
