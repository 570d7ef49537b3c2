// @ts-check
/**
 * The canvas where people paint masks: the one door for the page.
 *
 * `new Editor(div, { api })` fills the div and listens on it. `api` needs `tileUrl(id, level, column, row)`,
 * `select(body, {signal})` and `file(id)` or `fileUrl(id)`. What happens is told by events: `mask`, `history`, `tool`,
 * `view` ({zoom}: device px per image px), `setting` ({name, value, auto}), `extend` ({left, right, top, bottom, final}),
 * `split` ({fraction}) and `error` ({error}). Knows no buttons, words or keys, but those that act on the canvas itself.
 */

import { Document } from "./document.js";
import { Studio } from "./studio.js";

/** @typedef {import("./document.js").Picture} Picture */
/** @typedef {import("./mask.js").Box} Box */
/** @typedef {import("./studio.js").Settings} Settings */
/** @typedef {import("./studio.js").Mode} Mode */
/** @typedef {import("./tools/handles.js").Margins} Margins */

const ASPECT_SLACK = 0.01;
/** How large a brush appears at first, until somebody chooses a size. */
const BRUSH_CSS = 32;
const BRUSH_TOUCH_CSS = 40;

export class Editor extends EventTarget {
  #studio;
  #stop = new AbortController();
  #sized = false;

  /** @param {HTMLElement} element @param {{api: any}} how */
  constructor(element, { api }) {
    super();
    const emit = (/** @type {string} */ name, /** @type {any} */ detail) => void this.dispatchEvent(new CustomEvent(name, { detail }));
    this.#studio = new Studio(element, api, emit, this.#stop.signal);
    const studio = this.#studio;
    /** What is masked. Pixels of 128 and more count as filled. */
    this.mask = {
      get empty() {
        return !studio.opened || studio.document.mask.empty;
      },
      /** @returns {Box | null} */
      bounds: () => (studio.opened ? studio.document.mask.bounds() : null),
      area: () => (studio.opened ? studio.document.mask.area() : 0),
    };
  }

  /** Give everything back: listeners, bitmaps, canvases. */
  destroy() {
    this.#stop.abort();
    this.#studio.settle();
    this.#studio.stage.destroy();
  }

  // The document

  /** A new document; mask and history begin anew. @param {Picture} picture */
  open(picture) {
    const { settings, view } = this.#studio;
    this.#studio.take(new Document(picture));
    view.fit();
    if (!this.#sized) {
      const css = matchMedia("(pointer: coarse)").matches ? BRUSH_TOUCH_CSS : BRUSH_CSS;
      const most = Math.max(picture.width, picture.height) / 8;
      settings.size = Math.round(Math.max(4, Math.min(most, (css * view.ratio) / view.scale)));
      this.dispatchEvent(new CustomEvent("setting", { detail: { name: "size", value: settings.size, auto: true } }));
    }
  }

  /**
   * Show another state of the document (a variation, say), without making it the document's.
   * @param {Picture} picture @param {{at?: [number, number]}} [how] at: where the document's picture lies in it
   */
  show(picture, { at } = {}) {
    this.#studio.show(picture, at);
  }

  /** The picture that the mask and the next edit belong to. @returns {Picture | null} */
  get picture() {
    return this.#studio.opened ? this.#studio.document.picture : null;
  }

  /** @returns {Picture | null} */
  get original() {
    return this.#studio.opened ? this.#studio.document.original : null;
  }

  /**
   * Take an edited picture as the document's; the mask is emptied, undoing brings both back.
   * @param {Picture} picture
   * @param {{label: string, job?: any, at?: [number, number]}} how  at: where the picture so far lies in it, if it grew
   */
  apply(picture, { label, job, at }) {
    const studio = this.#studio;
    studio.settle();
    studio.document.apply(picture, { label, job, at: studio.placement(picture, { at, job }) });
  }

  // History

  undo() {
    return this.#turn((document) => document.undo());
  }

  redo() {
    return this.#turn((document) => document.redo());
  }

  get canUndo() {
    return this.#studio.opened && this.#studio.document.log.canUndo;
  }

  get canRedo() {
    return this.#studio.opened && this.#studio.document.log.canRedo;
  }

  /** @returns {{index: number, label: string, kind: string, job: any, current: boolean}[]} */
  history() {
    return this.#studio.opened ? this.#studio.document.history() : [];
  }

  /** @param {number} index */
  goTo(index) {
    this.#turn((document) => document.goTo(index));
  }

  /** Everything a later session needs to go on, as JSON-able data; null before `open`. */
  serialize() {
    const { view, settings, toolName, opened } = this.#studio;
    if (!opened) return null;
    const { plan: _, ...kept } = settings;
    return { version: 1, document: this.#studio.document.serialize(), view: view.serialize(), settings: kept, tool: toolName };
  }

  /** @param {any} data of `serialize` */
  restore(data) {
    if (data?.version !== 1) throw new Error("the session is of another version");
    const studio = this.#studio;
    studio.take(Document.restore(data.document));
    this.#sized = true;
    for (const [name, value] of Object.entries(data.settings)) if (name in studio.settings) this.set(/** @type {keyof Settings} */ (name), value);
    this.setTool(data.tool);
    studio.view.restore(data.view);
  }

  // Tools

  /** @param {string} name */
  setTool(name) {
    this.#studio.setTool(name);
  }

  get tool() {
    return this.#studio.toolName;
  }

  /** @returns {Readonly<Settings>} */
  get settings() {
    return this.#studio.settings;
  }

  /** @template {keyof Settings} K @param {K} name @param {Settings[K]} value */
  set(name, value) {
    if (name === "size") this.#sized = true;
    this.#studio.set(name, value);
  }

  // The mask

  clearMask() {
    this.#change("clear", (mask) => mask.clear());
  }

  invertMask() {
    this.#change("invert", (mask) => mask.invert());
  }

  /** @param {number} px less than 0 shrinks @returns {Promise<void>} */
  growMask(px) {
    return this.#studio.rework(px < 0 ? "shrink" : "grow", async (mask) => (await import("./mask_ops.js")).grown(mask, px));
  }

  /** @param {number} px @returns {Promise<void>} */
  featherMask(px) {
    return this.#studio.rework("feather", async (mask) => (await import("./mask_ops.js")).feathered(mask, px));
  }

  /** @param {Box} box @param {Uint8Array} pixels of the box, row by row @param {Mode} [mode] @param {string} [label] */
  setMask(box, pixels, mode = "add", label = "select") {
    if (!this.#studio.opened) return;
    this.#studio.input.cancel();
    this.#studio.merge(box, pixels, mode, label);
  }

  /** Replace the mask by a picture: white is filled. Another size of the same shape is scaled. @param {Blob} blob */
  async importMask(blob) {
    const { document } = this.#studio;
    const { width, height } = document.picture;
    const { decodeGrey, sizeOf } = await import("./png.js");
    const size = await sizeOf(blob);
    if (Math.abs((size.width * height) / (size.height * width) - 1) > ASPECT_SLACK) {
      throw Object.assign(new Error("the mask has another shape than the picture"), { code: "mask.size", facts: size });
    }
    const { pixels } = await decodeGrey(blob, width, height);
    if (document === this.#studio.document) this.setMask([0, 0, width, height], pixels, "replace", "import");
  }

  /** @returns {Promise<Blob>} a grey 8-bit PNG as large as the picture, white = fill */
  async exportMask() {
    const { mask } = this.#studio.document;
    const { encodeGrey } = await import("./png.js");
    return encodeGrey(mask.width, mask.height, (y0, y1, into) => mask.read([0, y0, mask.width, y1], into));
  }

  // What is seen

  /** Show the original as long as it is on. @param {boolean} on */
  compare(on) {
    if (this.#studio.opened) this.#studio.compare(on);
  }

  /** The before/after slider: the original is left of it. @param {number | null} fraction of the picture's width */
  setSplit(fraction) {
    this.#studio.setSplit(fraction);
  }

  /** @param {ImageBitmap | null} bitmap @param {Box} [box] where in the document's picture; all of it by default */
  setPreview(bitmap, box) {
    const { picture } = this;
    this.#studio.stage.setPreview(bitmap, box ?? [0, 0, picture?.width ?? 0, picture?.height ?? 0]);
  }

  /** Show handles for growing the picture. @param {Margins | null} margins */
  setExtend(margins) {
    if (this.#studio.opened) this.#studio.setExtend(margins);
  }

  /** A job is at work: tools rest, the mask breathes. @param {boolean} on */
  busy(on) {
    this.#studio.setBusy(on);
  }

  fit() {
    this.#studio.view.fit();
  }

  actualSize() {
    this.#studio.view.actualSize();
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.#studio.view.zoomBy(factor);
  }

  /** @param {number} x as in a pointer event's clientX @param {number} y @returns {{x: number, y: number}} */
  screenToImage(x, y) {
    this.#studio.locate();
    return this.#studio.view.fromClient(x, y);
  }

  /** @param {number} x image px @param {number} y @returns {{x: number, y: number}} as in a pointer event's clientX and clientY */
  imageToScreen(x, y) {
    this.#studio.locate();
    return this.#studio.view.toClient(x, y);
  }

  /** The server is back: ask again for what did not come. */
  refresh() {
    this.#studio.refresh();
  }

  /** Whether everything in sight is as fine as it gets. */
  get settled() {
    return this.#studio.stage.complete;
  }

  /** Milliseconds that the last frames took (at most 256 of them). @returns {number[]} */
  frameTimes() {
    const { times, frames } = this.#studio.stage;
    return [...times.slice(0, Math.min(frames, times.length))];
  }

  /** @param {(document: Document) => any} act */
  #turn(act) {
    const studio = this.#studio;
    if (!studio.opened || studio.locked || studio.busy) return false;
    studio.input.cancel();
    return act(studio.document);
  }

  /** @param {string} label @param {(mask: import("./mask.js").Mask) => void} act */
  #change(label, act) {
    const studio = this.#studio;
    if (!studio.opened || studio.locked) return;
    studio.input.cancel();
    studio.document.change(label, () => act(studio.document.mask));
  }
}
