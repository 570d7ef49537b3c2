// @ts-check
/**
 * What one can do, as verbs: Remove, Replace, Repair, Extend. Draws the verbs, the sheet of the chosen one and the
 * button that does it; turns them into requests. How results are shown is told to it.
 */

import { byId, fill, h, iconButton, slider } from "./dom.js";
import { Extension } from "./extend.js";
import { icon } from "./icons.js";
import { keyWords } from "./keys.js";
import { rove } from "./menu.js";
import { announce, complain, toast } from "./notices.js";
import { Running } from "./running.js";
import { say } from "./strings.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {"remove" | "replace" | "repair" | "extend"} Verb */
/** @typedef {import("./running.js").Kind} Kind */
/** @typedef {{verb: Verb, kind: Kind, body: Record<string, any>}} Order  one submission, as it can be made again */
/** @typedef {Order & {job: Job}} Done */

/** @type {Verb[]} */
export const VERBS = ["remove", "replace", "repair", "extend"];
const KINDS = ["dust", "scratch", "fold", "tear"];
const SEARCH_AGAIN_MS = 400;

export class Actions extends EventTarget {
  /** @type {Verb} */
  verb = "remove";
  /** @type {(Order & {id: string}) | null} */
  #order = null;
  #repair = { sensitivity: 0.5, kinds: KINDS };
  #words = { prompt: "", negative: "" };
  #found = -1; // area of the mask as it was found, until it is painted on
  /** @type {(done: Done) => Promise<void>} */
  finished = async () => {};

  /**
   * @param {object} parts
   * @param {import("./api.js").Api} parts.api
   * @param {import("./jobs.js").Jobs} parts.jobs
   * @param {import("./editor.js").Editor} parts.editor
   * @param {import("./parameters.js").Parameters} parts.parameters
   */
  constructor({ api, jobs, editor, parameters }) {
    super();
    this.api = api;
    this.editor = editor;
    this.parameters = parameters;
    this.running = new Running(api, jobs, editor);
    this.extension = new Extension(editor);
    this.running.addEventListener("change", () => this.#drawGo());
    this.extension.addEventListener("change", () => this.#changed());
    editor.addEventListener("mask", () => this.#maskChanged());
    editor.addEventListener("history", () => this.#drawGo());
    parameters.addEventListener("change", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.redraw) this.drawSheet();
      this.#changed();
    });
    this.#drawVerbs();
    this.choose("remove");
  }

  #changed() {
    this.#drawGo();
    this.dispatchEvent(new Event("change"));
  }

  // --- verbs -----------------------------------------------------------------------------------------------

  #drawVerbs() {
    const bar = byId("verbs");
    const tabs = VERBS.map((verb, i) =>
      h(
        "button",
        {
          type: "button", class: "verb", role: "tab", id: `verb-${verb}`, "data-testid": `action-${verb}`, "aria-controls": "sheet",
          "aria-keyshortcuts": String(i + 1), onclick: () => this.#press(verb),
        },
        icon(verb),
        h("span", null, say(`verb.${verb}`)),
      ),
    );
    fill(bar, ...tabs);
    bar.addEventListener("keydown", (event) => rove(event, bar, "[role=tab]"));
  }

  /** A second press on a phone opens the sheet. @param {Verb} verb */
  #press(verb) {
    const sheet = byId("sheet");
    const open = verb === this.verb ? !sheet.classList.contains("open") : verb !== "remove";
    this.choose(verb);
    this.openSheet(open);
  }

  /** On a phone the settings lie in a sheet that slides up. @param {boolean} open */
  openSheet(open) {
    byId("sheet").classList.toggle("open", open);
  }

  /** @param {Verb} verb */
  choose(verb) {
    this.verb = verb;
    this.parameters.worded = verb === "replace";
    for (const tab of byId("verbs").children) {
      const mine = tab.id === `verb-${verb}`;
      tab.setAttribute("aria-selected", String(mine));
      tab.setAttribute("tabindex", mine ? "0" : "-1");
    }
    byId("sheet").setAttribute("aria-labelledby", `verb-${verb}`);
    this.extension.show(verb === "extend");
    this.drawSheet();
    byId("sheet").scrollTop = 0;
    this.#changed();
  }

  /** What the chosen verb's request takes. */
  get #takes() {
    return { knobs: this.verb !== "extend", count: true };
  }

  /** Take over what a finished job was told, words and all. @param {Verb} verb @param {Record<string, any>} payload */
  use(verb, payload) {
    const { prompt = "", negative_prompt: negative = "", ...params } = payload.params ?? {};
    if (verb === "replace") this.#words = { prompt, negative };
    this.choose(verb);
    this.parameters.use({ ...payload, params });
  }

  /** The fill that would be done now, as far as it can be planned: the fields of its request; null if it cannot. */
  get planned() {
    if (this.running.busy || this.editor.mask.empty || this.verb === "extend" || (this.verb !== "repair" && this.need)) return null;
    return this.#worded(this.parameters.fields(this.#takes, false));
  }

  /** The fields of a request, with the words that go with it. @param {Record<string, any>} fields */
  #worded(fields) {
    if (this.verb !== "replace") return fields;
    const { prompt, negative } = this.#words;
    return { ...fields, params: { ...fields.params, prompt, ...(negative ? { negative_prompt: negative } : {}) } };
  }

  drawSheet() {
    const sheet = byId("sheet");
    const focused = document.activeElement instanceof HTMLElement && sheet.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
    const open = sheet.querySelector("details.picker")?.hasAttribute("open") && focused?.startsWith("engine-");
    const close = iconButton(say("panel.close"), icon("close"), { onclick: () => this.openSheet(false) });
    const parts = { remove: () => [], replace: () => this.#replaceParts(), repair: () => this.#repairParts(), extend: () => this.extension.draw() };
    fill(
      sheet,
      h("div", { class: "grip" }, h("span", null, say(`verb.${this.verb}`)), close),
      h("p", { class: "lead" }, say(`verb.${this.verb}.text`)),
      ...parts[this.verb](),
      ...this.parameters.draw(this.#takes),
    );
    if (open) sheet.querySelector("details.picker")?.setAttribute("open", "");
    if (focused) /** @type {HTMLElement | null} */ (sheet.querySelector(`[data-testid="${focused}"]`))?.focus();
  }

  #replaceParts() {
    if (!this.parameters.usable) {
      const words = h("div", null, h("strong", null, say("verb.replace.none")), say("verb.replace.none.hint"));
      return [h("div", { class: "notice calm", "data-testid": "replace-reason" }, icon("info"), words)];
    }
    const area = (/** @type {"prompt" | "negative"} */ name) => {
      const input = h("textarea", { rows: name === "prompt" ? 3 : 2, placeholder: say(`${name}.example`), "data-testid": name, oninput: () => ((this.#words[name] = input.value), this.#changed()) });
      input.value = this.#words[name];
      return h("label", { class: "stack" }, h("span", { class: "label" }, say(`${name}.label`)), input);
    };
    return [area("prompt"), area("negative")];
  }

  #repairParts() {
    const { sensitivity, kinds } = this.#repair;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const changed = (/** @type {Partial<{sensitivity: number, kinds: string[]}>} */ change) => {
      this.#repair = { ...this.#repair, ...change };
      this.dispatchEvent(new Event("change"));
      clearTimeout(timer);
      if (this.#found >= 0) timer = setTimeout(() => this.find(), SEARCH_AGAIN_MS);
    };
    const words = say("verb.repair.sensitivity");
    const range = slider({ min: 0, max: 1, step: 0.05, value: String(sensitivity), "aria-label": words, "data-testid": "sensitivity" }, (value) => changed({ sensitivity: value }));
    const chips = KINDS.map((kind) => {
      const box = h("input", {
        type: "checkbox", checked: kinds.includes(kind), "data-testid": `kind-${kind}`,
        onchange: () => {
          const { kinds: now } = this.#repair;
          const next = KINDS.filter((name) => (name === kind ? box.checked : now.includes(name)));
          if (next.length === 0) box.checked = true;
          else changed({ kinds: next });
        },
      });
      return h("label", { class: "chip" }, box, say(`kind.${kind}`));
    });
    const ends = h("div", { class: "ends" }, h("span", null, say("verb.repair.sensitivity.low")), h("span", null, say("verb.repair.sensitivity.high")));
    return [
      h("div", { class: "stack" }, h("span", { class: "label" }, words), range, ends),
      h("div", { class: "stack" }, h("span", { class: "label" }, say("verb.repair.kinds")), h("div", { class: "chips" }, ...chips)),
      h("button", { type: "button", class: "button", id: "find", "data-testid": "find", hidden: this.editor.mask.empty, onclick: () => this.find() }, icon("again"), say("verb.repair.again")),
      h("p", { class: "muted", id: "found", "data-testid": "found", role: "status" }, this.#foundWords()),
    ];
  }

  #foundWords() {
    const { picture, mask } = this.editor;
    if (!picture || this.#found < 0 || mask.empty) return "";
    const share = (100 * mask.area()) / (picture.width * picture.height);
    return say("verb.repair.found", { share: `${share < 1 ? share.toFixed(2) : share.toFixed(1)} %` });
  }

  #maskChanged() {
    if (this.#found >= 0 && this.editor.mask.area() !== this.#found) this.#found = -1;
    if (this.verb === "repair") byId("find").hidden = this.editor.mask.empty;
    this.#drawGo();
  }

  // --- the button ------------------------------------------------------------------------------------------

  /** What the chosen verb still needs, in words; "" when it can start. */
  get need() {
    const { picture, mask } = this.editor;
    if (!picture) return say("verb.open.need");
    if (this.verb === "extend") return this.extension.empty ? say("verb.extend.need") : "";
    if (this.verb === "repair") return "";
    if (this.verb === "replace") {
      if (!this.parameters.usable) return say("verb.replace.none");
      return mask.empty || !this.#words.prompt.trim() ? say("verb.replace.need") : "";
    }
    return mask.empty ? say("verb.remove.need") : "";
  }

  #drawGo() {
    const go = byId("go");
    if (this.running.busy) {
      if (!go.contains(this.running.element)) fill(go, this.running.element);
      return;
    }
    const { need } = this;
    const finding = this.verb === "repair" && this.editor.picture && this.editor.mask.empty;
    const words = finding ? say("verb.repair.find") : say(`verb.${this.verb}.go`);
    const focused = go.contains(document.activeElement);
    const button = h(
      "button",
      { type: "button", class: "button main", id: "run", "data-testid": "run", disabled: need !== "", "aria-describedby": need ? "need" : null, onclick: () => this.run() },
      h("span", null, words),
      h("kbd", { "aria-hidden": "true" }, keyWords("Enter")),
    );
    fill(go, need && h("p", { class: "need", id: "need" }, need), button);
    if (focused) button.focus();
  }

  // --- doing it --------------------------------------------------------------------------------------------

  /** Do what the chosen verb says. */
  async run() {
    if (this.running.busy) return;
    if (this.need) return announce(this.need);
    const { verb, editor } = this;
    if (verb === "repair" && editor.mask.empty) return this.find();
    this.openSheet(false);
    const fields = this.#worded(this.parameters.fields(this.#takes));
    const image = /** @type {import("./api.js").Picture} */ (editor.picture).id;
    if (verb === "extend") {
      if (fields.engine === "auto") delete fields.engine;
      return this.#do(verb, "extend", async () => ({ image, ...this.extension.amounts, ...fields }));
    }
    return this.#do(verb, "fill", async (signal) => {
      const mask = await this.api.upload(await editor.exportMask(), "mask.png", { signal });
      return { image, mask: mask.id, ...fields };
    });
  }

  /**
   * Do a submission again, with another seed.
   * @param {Order} order
   */
  again({ verb, kind, body }) {
    const { seed } = this.parameters.fields({ knobs: false, count: false });
    const next = this.parameters.state.locked ? ((body.seed ?? 0) + 1) % 2 ** 32 : seed;
    return this.#do(verb, kind, async () => ({ ...body, seed: next }));
  }

  /** Look for damage, and make what is found the mask. */
  async find() {
    const { picture } = this.editor;
    if (this.running.busy || !picture) return;
    try {
      const body = { image: picture.id, ...this.#repair, detect_only: true };
      const job = await this.running.submit("repair", async () => body);
      if (this.editor.picture?.id !== picture.id) return;
      await this.#takeFound(job);
    } catch (error) {
      complain(error);
    }
  }

  /** @param {Job} job */
  async #takeFound({ result }) {
    if (!result?.mask) return;
    await this.editor.importMask(await this.api.file(result.mask));
    this.#found = this.editor.mask.area();
    const words = this.#found > 0 ? this.#foundWords() : say("verb.repair.clean");
    if (this.verb === "repair") byId("found").textContent = words;
    announce(words);
    this.#changed();
  }

  /** @param {Verb} verb @param {Kind} kind @param {(signal: AbortSignal) => Promise<Record<string, any>>} make */
  async #do(verb, kind, make) {
    /** @type {Record<string, any>} */
    let body = {};
    const keep = async (/** @type {AbortSignal} */ signal) => (body = await make(signal));
    await this.#conclude(
      this.running.submit(kind, keep, (job) => {
        this.#order = { verb, kind, body, id: job.id };
        this.dispatchEvent(new Event("change"));
      }),
    );
  }

  /** @param {Promise<Job>} waiting */
  async #conclude(waiting) {
    try {
      const job = await waiting;
      const order = this.#order;
      if (!order) return;
      if (this.editor.picture?.id === order.body.image) await this.finished({ ...order, job });
      else toast(say("run.away", { verb: say(`verb.${order.verb}`) }), { hint: say("run.away.hint") });
      this.extension.reset();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") toast(say("run.cancelled"));
      else complain(error);
    } finally {
      this.#order = null;
      this.#changed();
    }
  }

  cancel() {
    return this.running.cancel();
  }

  // --- being kept ------------------------------------------------------------------------------------------

  /** What a later page needs to go on. */
  serialize() {
    const { verb } = this;
    return { verb, repair: this.#repair, words: this.#words, amounts: this.extension.amounts, parameters: this.parameters.state, order: this.#order };
  }

  /** @param {Partial<ReturnType<Actions["serialize"]>>} saved */
  restore(saved) {
    if (saved.parameters) this.parameters.restore(saved.parameters);
    if (saved.repair) this.#repair = saved.repair;
    if (saved.words) this.#words = saved.words;
    this.choose(saved.verb ?? "remove");
    if (saved.amounts) this.extension.reset(saved.amounts);
    if (!saved.order) return;
    this.#order = saved.order;
    this.#conclude(this.running.resume(saved.order.id));
  }
}
