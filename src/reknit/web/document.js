// @ts-check
/**
 * What is being edited: the picture, its mask, and one history over both.
 *
 * Coordinates are those of the document's current picture; `origin` says where the picture that was opened lies in
 * it (an extension moves it). Tells what happened through callbacks. Knows no screen and no server.
 */

import { History, packAll, unpackAll } from "./history.js";
import { Mask } from "./mask.js";

/**
 * @typedef {object} Picture  the server's description; see the HTTP API
 * @property {string} id
 * @property {number} width
 * @property {number} height
 * @property {number} tile_px
 * @property {number} levels
 * @property {boolean} [alpha]
 * @property {string | null} [parent]
 * @property {[number, number, number, number] | null} [box]
 * @property {[number, number]} [at]
 */
/** @typedef {{picture: Picture, origin: [number, number]}} State */
/** @typedef {import("./history.js").Step} Step */

export class Document {
  /** @param {Picture} picture */
  constructor(picture) {
    this.original = picture;
    /** @type {State} */
    this.state = { picture, origin: [0, 0] };
    this.mask = new Mask(picture.width, picture.height);
    this.log = new History();
    /** @type {(before: State) => void} */
    this.moved = () => {};
    this.maskChanged = () => {};
    this.logChanged = () => {};
    this.label = "";
  }

  get picture() {
    return this.state.picture;
  }

  /** Open a change of the mask. @param {string} label */
  begin(label) {
    this.label = label;
    this.mask.begin();
  }

  /** Close it and remember it. @returns {boolean} whether anything changed */
  commit() {
    const before = this.mask.commit();
    if (before.size === 0) return false;
    this.log.push({ label: this.label, tiles: packAll(before) });
    this.maskChanged();
    this.logChanged();
    return true;
  }

  abort() {
    this.mask.abort();
  }

  /** @param {string} label @param {() => void} change */
  change(label, change) {
    this.begin(label);
    try {
      change();
    } catch (error) {
      this.abort();
      throw error;
    }
    return this.commit();
  }

  /**
   * Take an edited picture as the document's, and empty the mask.
   * @param {Picture} picture @param {{label: string, job?: any, at?: [number, number]}} how  at: where the picture so far lies in it
   */
  apply(picture, { label, job, at = [0, 0] }) {
    const [x, y] = this.state.origin;
    this.mask.begin();
    this.mask.clear();
    const tiles = packAll(this.mask.commit());
    const step = { label, job, tiles, picture: this.#enter({ picture, origin: [x + at[0], y + at[1]] }) };
    this.log.push(step);
    this.maskChanged();
    this.logChanged();
  }

  undo() {
    if (!this.log.canUndo || this.mask.step) return false;
    this.#turn(this.log.steps[--this.log.position]);
    return true;
  }

  redo() {
    if (!this.log.canRedo || this.mask.step) return false;
    this.#turn(this.log.steps[this.log.position++]);
    return true;
  }

  /** The states one can go to; 0 is the picture as opened (or the oldest remembered). */
  history() {
    const entry = (/** @type {Step | null} */ step, /** @type {number} */ index) => ({
      index,
      label: step ? step.label : "open",
      kind: !step ? "open" : step.picture ? "picture" : "mask",
      job: step?.job ?? null,
      current: index === this.log.position,
    });
    return [entry(null, 0), ...this.log.steps.map((step, i) => entry(step, i + 1))];
  }

  /** @param {number} index */
  goTo(index) {
    const goal = Math.max(0, Math.min(this.log.steps.length, index));
    while (this.log.position > goal && this.undo());
    while (this.log.position < goal && this.redo());
  }

  /** Every picture that the document may show. */
  pictures() {
    return [this.original, this.picture, ...this.log.steps.flatMap((step) => (step.picture ? [step.picture.picture] : []))];
  }

  /** @returns {any} JSON-able */
  serialize() {
    return {
      original: this.original,
      state: this.state,
      // As it was before a stroke that is under way.
      mask: packAll(new Map([...this.mask.tiles, ...(this.mask.step ?? [])])).filter(([, packed]) => packed),
      steps: this.log.steps.map((step) => ({ ...step })),
      position: this.log.position,
    };
  }

  /** @param {ReturnType<Document["serialize"]>} data */
  static restore(data) {
    const document = new Document(data.original);
    document.state = data.state;
    document.mask = new Mask(data.state.picture.width, data.state.picture.height);
    document.mask.swap(unpackAll(data.mask));
    document.log.steps = data.steps.map((/** @type {Step} */ step) => ({ ...step }));
    document.log.position = data.position;
    return document;
  }

  /** Undo or redo: exchange what the step keeps with what is. @param {Step} step */
  #turn(step) {
    // The mask fits the larger side of the change while tiles go in or out; empty on the other side.
    if (step.picture) {
      const clear = this.mask.tiles.size === 0 ? null : packAll(this.mask.swap(emptied(this.mask)));
      step.picture = this.#enter(step.picture);
      const tiles = step.tiles;
      step.tiles = clear ?? [];
      this.mask.swap(unpackAll(tiles));
    } else {
      step.tiles = packAll(this.mask.swap(unpackAll(step.tiles)));
    }
    this.maskChanged();
    this.logChanged();
  }

  /** @param {State} state @returns {State} the state before */
  #enter(state) {
    const before = this.state;
    this.state = state;
    this.mask.width = state.picture.width;
    this.mask.height = state.picture.height;
    this.moved(before);
    return before;
  }
}

/** @param {Mask} mask @returns {import("./mask.js").Swap} */
function emptied(mask) {
  return new Map([...mask.tiles.keys()].map((key) => [key, undefined]));
}
