// @ts-check
/**
 * The canvas's inside: joins document, view, stage, input and tools. What the page may call is in editor.js.
 */

import { Document } from "./document.js";
import { Input } from "./input.js";
import { frame, outline } from "./marks.js";
import { Mask } from "./mask.js";
import { Pixels } from "./raster.js";
import { Stage } from "./stage.js";
import { Brush, Eraser } from "./tools/brush.js";
import { Line, Rectangle } from "./tools/drag.js";
import { Extend, Splitter } from "./tools/handles.js";
import { Lasso, PolygonTool } from "./tools/outline.js";
import { Selecting, Smart, Wand } from "./tools/select.js";
import { MARGIN_CSS, Viewport, WIDE_MARGIN_CSS } from "./viewport.js";

/** @typedef {import("./document.js").Picture} Picture */
/** @typedef {import("./document.js").State} State */
/** @typedef {import("./input.js").Spot} Spot */
/** @typedef {import("./mask.js").Box} Box */
/** @typedef {"add" | "subtract" | "replace"} Mode */
/**
 * @typedef {object} Settings
 * @property {number} size        the brush's diameter, image px
 * @property {number} hardness    0…1
 * @property {boolean} pressure   a pen's pressure sets the width
 * @property {number} tolerance   of the wand, 0…255
 * @property {boolean} contiguous of the wand
 * @property {"box" | "scribble"} smart  what dragging means to smart select
 * @property {boolean} subtract   tools take away
 * @property {string} colour      of the mask, #rrggbb
 * @property {number} opacity     of the mask, 0…1
 * @property {boolean} showCrop   the plan's context boxes
 * @property {boolean} showRing   how far the blend reaches around the mask
 * @property {any} plan           the server's plan of a job
 * @property {number | null} ring width of the blend ring, px; null: the plan's
 */

/** Tools that draw their own cursor. */
const DRAWN = new Set(["brush", "eraser", "line", "rectangle", "lasso", "polygon", "wand", "smart"]);
const RING_PX = 8;
/** The hand: dragging moves the picture, which the input does by itself. */
const HAND = { down() {}, move() {}, up() {}, cancel() {} };

export class Studio {
  /** @type {Settings} */
  settings = {
    size: 60,
    hardness: 1,
    pressure: true,
    tolerance: 24,
    contiguous: true,
    smart: "box",
    subtract: false,
    colour: "#ff3d81",
    opacity: 0.5,
    showCrop: false,
    showRing: false,
    plan: null,
    ring: null,
  };
  /** @type {Document | null} */
  #document = null;
  /** The pointer, or the keyboard's cursor. @type {Spot | null} */
  spot = null;
  busy = false;
  /** Running work on the whole mask, which must not be painted on meanwhile. */
  locked = 0;
  #viewed = false;
  #ringWork = 0;

  /**
   * @param {HTMLElement} element @param {any} api
   * @param {(name: string, detail?: any) => void} emit
   * @param {AbortSignal} signal ends everything
   */
  constructor(element, api, emit, signal) {
    this.element = element;
    this.api = api;
    this.emit = emit;
    if (getComputedStyle(element).position === "static") element.style.position = "relative";
    if (element.tabIndex < 0 && !element.hasAttribute("tabindex")) element.tabIndex = 0;
    if (!element.hasAttribute("role")) element.setAttribute("role", "application");
    element.style.userSelect = "none";
    element.style.setProperty("-webkit-touch-callout", "none");
    this.view = new Viewport();
    this.stage = new Stage(element, this.view, api);
    /** @type {Record<string, any>} */
    this.tools = {
      brush: new Brush(this),
      eraser: new Eraser(this),
      line: new Line(this),
      rectangle: new Rectangle(this),
      lasso: new Lasso(this),
      polygon: new PolygonTool(this),
      wand: new Wand(this),
      smart: new Smart(this),
      pan: HAND,
      extend: HAND,
    };
    this.toolName = "brush";
    this.extension = new Extend(this);
    this.extension.moved = (final) => this.#extensionMoved(final);
    this.splitter = new Splitter(this);
    this.selecting = new Selecting(this, () => (this.#cursor(), this.stage.repaintMarks()));
    this.input = new Input(
      element,
      {
        view: this.view,
        take: (spot) => this.#take(spot),
        hover: (spot) => this.hover(spot),
        key: (key) => this.#key(key),
        twice: (spot) => this.ready && this.tool.twice?.(spot),
      },
      signal,
    );
    this.view.changed = () => this.#viewChanged();
    this.stage.prepare = () => this.#prepare();
    this.stage.drawMarks = (context) => this.#drawMarks(context);
    this.stage.tiles.failed = (error) => this.fail(error);
    this.#watchSize(signal);
    window.addEventListener("online", () => this.refresh(), { signal });
    this.setTool("brush");
    this.signal = signal;
  }

  get tool() {
    return this.tools[this.toolName];
  }

  /** The document; there is one from the first `open` on. */
  get document() {
    return /** @type {Document} */ (this.#document);
  }

  get opened() {
    return this.#document !== null;
  }

  /** Whether tools may work. */
  get ready() {
    return this.opened && !this.busy && this.locked === 0 && !this.stage.comparing;
  }

  /** @param {Document} document */
  take(document) {
    this.settle();
    for (const tool of Object.values(this.tools)) tool.leave?.();
    if (!this.#document) import("./warm.js").then(({ warmUp }) => warmUp(this.signal), () => {});
    this.#document = document;
    document.mask.changed = (box) => {
      // Painting brings the mask back into sight.
      if (document.mask.step && (this.stage.holdMask || !this.stage.maskVisible)) this.stage.showMask();
      this.stage.maskChanged(box);
    };
    document.maskChanged = () => {
      this.#refreshRing();
      this.emit("mask");
    };
    document.logChanged = () => this.emit("history");
    document.moved = (before) => this.#moved(before);
    for (const picture of document.pictures()) this.stage.tiles.know(picture);
    this.extension.margins = null;
    this.stage.extended = null;
    this.stage.overlay.setMask(document.mask);
    this.stage.split = null;
    this.stage.comparing = false;
    this.stage.dropPreview();
    this.#place();
    this.stage.show({ picture: document.picture, x: 0, y: 0 }, { gently: false, mask: true });
    this.#refreshRing();
    this.emit("mask");
    this.emit("history");
  }

  /** Show any state of the document; `at`: where the document's picture lies in it. @param {Picture} picture @param {[number, number]} [at] */
  show(picture, at) {
    const own = picture.id === this.document.picture.id;
    const [x, y] = own ? [0, 0] : this.placement(picture, { at });
    this.stage.show({ picture, x: -x, y: -y }, { gently: true, mask: own });
    this.#place();
  }

  /**
   * Where the document's picture lies in one made from it.
   * @param {Picture} picture @param {{at?: [number, number], job?: any}} how @returns {[number, number]}
   */
  placement(picture, { at, job }) {
    const now = this.document.picture;
    if (at) return at;
    if (picture.at) return picture.at;
    const wider = picture.width - now.width;
    const higher = picture.height - now.height;
    if (!wider && !higher) return [0, 0];
    for (const margins of [job?.payload, this.extension.margins]) {
      if (!margins) continue;
      const { left = 0, right = 0, top = 0, bottom = 0 } = margins;
      if (left + right === wider && top + bottom === higher) return [left, top];
    }
    return [Math.max(0, wider >> 1), Math.max(0, higher >> 1)];
  }

  /** End a stroke that is under way by taking it back. */
  settle() {
    this.input.cancel();
    this.selecting.cancel();
  }

  /** @param {string} name */
  setTool(name) {
    if (!(name in this.tools)) throw new RangeError(`there is no tool ${name}`);
    if (name !== this.toolName) {
      this.input.cancel();
      this.tool.leave?.();
    }
    this.toolName = name;
    if (name === "extend" && this.opened && !this.extension.margins) this.setExtend({ left: 0, right: 0, top: 0, bottom: 0 });
    this.#cursor();
    this.stage.repaintMarks();
    this.emit("tool", { name });
  }

  /** @param {keyof Settings} name @param {any} value */
  set(name, value) {
    if (!(name in this.settings)) throw new RangeError(`there is no setting ${name}`);
    Object.assign(this.settings, { [name]: value });
    if (name === "colour" || name === "opacity") {
      this.stage.overlay.setTint(this.settings.colour, this.settings.opacity);
      this.stage.repaintMask();
    }
    if (name === "showRing" || name === "plan" || name === "ring") this.#refreshRing();
    this.stage.repaintMarks();
    this.emit("setting", { name, value });
  }

  /** @param {import("./tools/handles.js").Margins | null} margins */
  setExtend(margins) {
    const before = this.extension.margins;
    this.extension.margins = margins && { left: margins.left, right: margins.right, top: margins.top, bottom: margins.bottom };
    this.#place();
    if (!!before !== !!margins || this.view.fitted) this.view.fit();
    this.stage.repaint();
  }

  /** @param {boolean} on */
  compare(on) {
    if (this.stage.comparing === on) return;
    if (on) this.input.cancel();
    this.stage.comparing = on;
    this.stage.repaintMask();
    this.stage.repaint();
  }

  /** @param {number | null} fraction */
  setSplit(fraction) {
    this.stage.split = fraction === null ? null : Math.min(1, Math.max(0, fraction));
    this.stage.repaint();
    this.#cursor();
  }

  /** @param {boolean} on */
  setBusy(on) {
    if (on) this.input.cancel();
    this.busy = on;
    this.element.setAttribute("aria-busy", String(on));
    this.stage.pulse(on);
    this.#cursor();
  }

  /** Let the server select. @param {Record<string, any>} body @param {{label: string, mode: Mode, again?: boolean}} how */
  select(body, how) {
    return this.selecting.run(body, how);
  }

  /** @param {Box} box @param {Uint8Array} pixels @param {Mode} mode @param {string} label */
  merge(box, pixels, mode, label) {
    const shape = new Pixels(box, pixels);
    return this.document.change(label, () => {
      if (mode === "replace") this.document.mask.clear();
      this.document.mask.stamp(shape, mode === "subtract");
    });
  }

  /** Change the whole mask by new tiles that take time to compute. @param {string} label @param {(mask: Mask) => Promise<Map<number, Uint8Array | undefined>>} compute */
  async rework(label, compute) {
    if (!this.opened) return;
    this.input.cancel();
    const document = this.document;
    this.locked++;
    try {
      const tiles = await compute(document.mask);
      if (document !== this.document) return;
      document.change(label, () => {
        for (const [key, tile] of tiles) document.mask.put(key, tile);
      });
    } finally {
      this.locked--;
    }
  }

  /** Ask again for tiles that did not come. */
  refresh() {
    this.stage.tiles.retry();
    this.stage.repaint();
  }

  /** The element may have moved in the window. */
  locate() {
    this.view.locate(this.element.getBoundingClientRect());
  }

  /** @param {unknown} error */
  fail(error) {
    this.emit("error", { error });
  }

  /** @param {Spot | null} spot */
  hover(spot) {
    this.spot = spot;
    this.#cursor();
    this.stage.repaintMarks();
  }

  /** Whether the canvas itself uses a key. @param {string} key */
  #key(key) {
    if (key === "Escape" && this.selecting.active) {
      this.selecting.cancel();
      return true;
    }
    return this.ready ? (this.tool.key?.(key) ?? false) : false;
  }

  /** Who takes a drag that begins here. @param {Spot} spot @returns {import("./input.js").Handler | "pan" | null} */
  #take(spot) {
    if (!this.opened) return null;
    if (this.splitter.hit(spot)) return this.splitter;
    if (this.extension.hit(spot)) return this.busy ? "pan" : this.extension;
    if (!this.ready || this.toolName === "pan" || this.toolName === "extend") return "pan";
    return this.tool;
  }

  /** The document's picture changed. @param {State} before */
  #moved(before) {
    const { picture, origin } = this.document.state;
    const dx = origin[0] - before.origin[0];
    const dy = origin[1] - before.origin[1];
    const resized = picture.width !== before.picture.width || picture.height !== before.picture.height;
    if (dx || dy) this.stage.shift(dx, dy);
    if (resized) {
      this.extension.margins = null;
      this.stage.overlay.setMask(this.document.mask);
    }
    this.#place();
    this.view.shift(dx, dy);
    if (resized) this.stage.moved();
    this.stage.show({ picture, x: 0, y: 0 }, { gently: true, mask: true });
  }

  /** Tell view and stage what there is to see. */
  #place() {
    const { picture, state, original } = this.document;
    const box = this.extension.box;
    this.view.world = box;
    this.view.margin = this.extension.margins ? WIDE_MARGIN_CSS : MARGIN_CSS;
    this.stage.extended = this.extension.margins && box;
    this.stage.original = { picture: original, x: state.origin[0], y: state.origin[1] };
    this.stage.tiles.know(picture);
  }

  /** @param {boolean} final */
  #extensionMoved(final) {
    this.#place();
    const [x0, y0, x1, y1] = this.extension.box;
    const seen = this.view.seen();
    if (final && (x0 < seen[0] || y0 < seen[1] || x1 > seen[2] || y1 > seen[3])) this.view.fit();
    this.stage.repaint();
    this.emit("extend", { ...this.extension.margins, final });
  }

  /** Work out again how far the blend reaches. */
  async #refreshRing() {
    const { showRing, ring, plan } = this.settings;
    const work = ++this.#ringWork;
    const document = this.#document;
    if (!showRing || !document || document.mask.empty) {
      if (this.stage.overlay.ring) {
        this.stage.overlay.setRing(null);
        this.stage.repaintMask();
      }
      return;
    }
    const px = ring ?? (plan ? (plan.grow_px ?? 0) + (plan.feather_px ?? 0) : RING_PX);
    const { grown } = await import("./mask_ops.js");
    const tiles = await grown(document.mask, Math.max(1, px));
    if (work !== this.#ringWork || document !== this.#document) return;
    const mask = new Mask(document.mask.width, document.mask.height);
    mask.swap(tiles);
    this.stage.overlay.setRing(mask);
    this.stage.repaintMask();
  }

  #viewChanged() {
    this.#viewed = true;
    if (this.spot?.client) this.spot = { ...this.spot, ...this.view.fromClient(this.spot.client[0], this.spot.client[1]) };
    this.stage.moved();
  }

  #prepare() {
    if (this.tool.flush) this.tool.flush();
    if (!this.#viewed) return;
    this.#viewed = false;
    this.emit("view", { zoom: this.view.scale });
  }

  #cursor() {
    const { spot, extension, splitter } = this;
    const grip = spot && this.opened && (splitter.hit(spot) ? "ew-resize" : extension.cursor(spot));
    let cursor = "default";
    if (grip) cursor = grip;
    else if (this.selecting.active) cursor = "progress";
    else if (!this.opened) cursor = "default";
    else if (this.busy || !DRAWN.has(this.toolName)) cursor = "grab";
    else cursor = "none";
    this.drawsCursor = cursor === "none" || cursor === "progress";
    this.element.style.setProperty("cursor", cursor);
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawMarks(context) {
    if (!this.opened) return;
    const { view, settings } = this;
    if (settings.showCrop && settings.plan?.regions && this.toolName !== "extend") {
      for (const region of settings.plan.regions) {
        frame(context, view, region.context);
        outline(context, view.ratio, { dashed: true, colour: "#ffd24a" });
      }
    }
    this.selecting.draw(context);
    this.extension.draw(context);
    this.splitter.draw(context);
    const shows = this.drawsCursor && !this.stage.comparing && !this.element.classList.contains("panning") && !this.element.classList.contains("grabbing");
    if (this.ready) this.tool.draw?.(context, shows ? this.spot : null);
  }

  /** @param {AbortSignal} signal */
  #watchSize(signal) {
    const measure = (/** @type {number} */ width, /** @type {number} */ height) => {
      const before = [this.view.width, this.view.height];
      this.view.resize(this.element.getBoundingClientRect(), Math.max(1, width), Math.max(1, height));
      if (before[0] !== this.view.width || before[1] !== this.view.height || this.stage.base.width !== this.view.width) {
        this.stage.resize(this.view.width, this.view.height);
        // Now, not in the next frame: a canvas is blank once its size is set.
        this.stage.drawNow();
      }
    };
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      const exact = entry.devicePixelContentBoxSize?.[0];
      const [across, down] = [width * devicePixelRatio, height * devicePixelRatio];
      // A browser that emulates a dense screen may tell CSS px here.
      if (exact && Math.abs(exact.inlineSize - across) < 2) measure(exact.inlineSize, exact.blockSize);
      else measure(Math.round(across), Math.round(down));
    });
    try {
      observer.observe(this.element, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(this.element);
    }
    signal.addEventListener("abort", () => observer.disconnect());
    const rect = this.element.getBoundingClientRect();
    measure(Math.round(rect.width * devicePixelRatio), Math.round(rect.height * devicePixelRatio));
  }
}
