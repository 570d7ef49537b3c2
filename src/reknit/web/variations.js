// @ts-check
/**
 * What came out of a job: one picture or several to choose from. The first is applied at once; choosing another
 * replaces that edit, so the history holds one step. Draws the strip below the picture and the side-by-side view.
 */

import { openDialog } from "./dialog.js";
import { byId, fill, h, iconButton } from "./dom.js";
import { icon } from "./icons.js";
import { rove } from "./menu.js";
import { announce, complain } from "./notices.js";
import { drawRegion, surroundings } from "./region.js";
import { duration, say } from "./strings.js";

/** @typedef {import("./actions.js").Done} Done */
/** @typedef {import("./api.js").Picture} Picture */

const THUMB_PX = 124;

export class Results extends EventTarget {
  /** @type {Done | null} */
  #done = null;
  #chosen = 0;

  /**
   * @param {import("./api.js").Api} api @param {import("./editor.js").Editor} editor
   * @param {(done: Done) => void} again
   */
  constructor(api, editor, again) {
    super();
    this.api = api;
    this.editor = editor;
    this.again = again;
    editor.addEventListener("history", () => this.#check());
    editor.addEventListener("mask", () => editor.mask.empty || this.hide());
  }

  /** @returns {Picture[]} */
  get #images() {
    return this.#done?.job.result?.images ?? [];
  }

  /** Show what a job made. @param {Done} done */
  take(done) {
    this.#done = done;
    this.#chosen = 0;
    this.editor.set("plan", done.job.result?.plan ?? null);
    if (this.#images.length === 0) return;
    this.#apply(0);
    const { started, finished } = done.job;
    announce(say("result.done", { time: duration((finished ?? 0) - (started ?? 0)) }));
  }

  /** @param {number} n */
  #apply(n) {
    const { verb, body, job } = /** @type {Done} */ (this.#done);
    /** @type {[number, number]} */
    const at = [body.left ?? 0, body.top ?? 0];
    this.#chosen = n;
    this.editor.apply(this.#images[n], { label: say(`verb.${verb}`), job: job.id, at });
    if (verb === "extend") this.editor.fit();
    this.#draw();
  }

  /** Choose another variation in place of the one shown. @param {number} n */
  choose(n) {
    if (n === this.#chosen || !this.#images[n]) return;
    const done = this.#done;
    this.editor.undo();
    this.#done = done;
    this.#apply(n);
    announce(say("result.pick", { n: n + 1 }));
  }

  hide() {
    this.#done = null;
    byId("results").hidden = true;
  }

  /** The strip belongs to the picture shown: it goes when that is undone or edited further. */
  #check() {
    const id = this.editor.picture?.id;
    if (this.#done && !this.#images.some((image) => image.id === id) && id !== this.#done.body.image) this.hide();
    else if (this.#done && id === this.#done.body.image) byId("results").hidden = true;
    else if (this.#done) byId("results").hidden = false;
  }

  #draw() {
    const done = /** @type {Done} */ (this.#done);
    const { job } = done;
    const images = this.#images;
    const time = duration((job.finished ?? 0) - (job.started ?? 0));
    const plan = job.result?.plan;
    const proof = job.result?.report?.outside_equal === true;
    const facts = h(
      "div",
      { class: "facts" },
      h("strong", null, images.length > 1 ? say("result.choose") : say("result.done", { time })),
      plan && h("span", { class: "muted", "data-tip": (plan.reasons ?? []).join("; ") }, say("result.with", { engine: plan.engine })),
      proof && h("span", { class: "proof", "data-tip": say("result.proof.tip") }, icon("shield"), say("result.proof")),
    );
    const picks = images.length > 1 && this.#picks(images, THUMB_PX, 1);
    const side = images.length > 1 && iconButton(say("result.side"), icon("side"), { "data-testid": "side-by-side", onclick: () => this.sideBySide() });
    const again = h("button", { type: "button", class: "button small", "data-testid": "again", "aria-label": say("result.again"), onclick: () => this.#again() }, icon("again"), h("span", null, say("result.again")));
    const close = iconButton(say("result.close"), icon("close"), { onclick: () => this.hide() });
    const results = byId("results");
    fill(results, facts, picks, h("div", { class: "acts" }, side, again, close));
    results.hidden = false;
  }

  #again() {
    const done = this.#done;
    if (!done) return;
    this.editor.undo();
    this.hide();
    this.again(done);
  }

  /** @param {Picture[]} images @param {number} px @param {number} shape */
  #picks(images, px, shape) {
    const group = h("div", { class: "picks", role: "radiogroup", "aria-label": say("result.choose") });
    const buttons = images.map((image, n) => {
      const canvas = h("canvas", { width: px, height: Math.round(px / shape), "aria-hidden": "true" });
      drawRegion(canvas, this.api, image, surroundings(image, image.box, shape)).catch(complain);
      return h(
        "button",
        {
          type: "button", class: "pick", role: "radio", "aria-checked": String(n === this.#chosen), tabindex: n === this.#chosen ? "0" : "-1",
          "aria-label": say("result.pick", { n: n + 1 }), "data-testid": `variation-${n + 1}`, onclick: () => this.#pick(group, n),
        },
        canvas,
        h("b", null, n + 1),
      );
    });
    group.append(...buttons);
    group.addEventListener("keydown", (event) => rove(event, group, ".pick"));
    return group;
  }

  /** @param {HTMLElement} group @param {number} n */
  #pick(group, n) {
    this.choose(n);
    const pick = byId("results").querySelectorAll(".pick")[n];
    if (group.isConnected) return;
    if (pick instanceof HTMLElement) pick.focus();
  }

  /** Show all of them large, and take the one that is pressed. */
  sideBySide() {
    const images = this.#images;
    if (images.length < 2) return;
    const part = surroundings(images[0], images[0].box, innerWidth > 720 ? 16 / 9 : 4 / 3);
    const shape = (part[2] - part[0]) / (part[3] - part[1]);
    const width = Math.round(Math.min(560, innerWidth - 60) * devicePixelRatio);
    openDialog(
      say("result.choose"),
      (close) => {
        const group = this.#picks(images, width, shape);
        group.className = "side";
        group.style.setProperty("--shape", String(shape));
        group.style.setProperty("--across", images.length === 3 ? "3" : "2");
        group.addEventListener("click", (event) => event.target instanceof Element && event.target.closest(".pick") && close());
        return group;
      },
      { look: "wide", testid: "side" },
    );
  }
}
