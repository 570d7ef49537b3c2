// @ts-check
/**
 * The composition root of the page: makes its parts, joins them, and opens documents. Holds no state of its own
 * but which parts there are.
 */

import { Actions } from "./actions.js";
import { Api, ApiError } from "./api.js";
import { Compare } from "./compare.js";
import { byId, fill, h } from "./dom.js";
import { Editor } from "./editor.js";
import { watchFiles } from "./files.js";
import { drawIcons, icon } from "./icons.js";
import { Jobs, verbOf } from "./jobs.js";
import { openMenu } from "./menu.js";
import { announce, complain, startTips, toast } from "./notices.js";
import { Parameters } from "./parameters.js";
import { Sessions } from "./session.js";
import { Shortcuts } from "./shortcuts.js";
import { say, sayTouch, translate } from "./strings.js";
import { nextTheme, theme } from "./theme.js";
import { TOOLS, Toolbar } from "./toolbar.js";
import { drawWelcome } from "./welcome.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Picture} Picture */

const FORMATS = ["png", "jpeg", "webp", "tiff", "avif"];
const BACK_MS = 2000;

class Page {
  api = new Api();
  editor = new Editor(byId("canvas"), { api: this.api });
  jobs = new Jobs(this.api);
  sessions = new Sessions();
  toolbar = new Toolbar(this.editor);
  compare = new Compare(this.editor);
  /** @type {AbortController | null} */
  #opening = null;
  #done = false;

  constructor() {
    this.api.unlock = async () => (await import("./ask.js")).askToken(this.api);
    this.editor.addEventListener("error", (event) => complain(/** @type {CustomEvent} */ (event).detail.error));
    this.editor.addEventListener("history", () => this.#historyChanged());
    this.editor.addEventListener("mask", () => this.sessions.touch());
    this.editor.addEventListener("tool", () => this.sessions.touch());
    this.jobs.addEventListener("online", (event) => this.#online(/** @type {CustomEvent<boolean>} */ (event).detail));
    this.jobs.addEventListener("progress", () => this.#title());
    this.jobs.addEventListener("job", () => this.#countJobs());
    watchFiles((blob, name) => this.open(blob, name));
    watchFocus();
    this.#buttons();
  }

  /** Learn what the server can, then take up what this tab was doing. */
  async start() {
    drawWelcome({ sample: () => this.openSample(), earlier: null });
    this.jobs.start();
    const [{ engines, request }, { models }] = await Promise.all([patiently(() => this.api.engines()), patiently(() => this.api.models())]);
    this.jobs.engines = engines;
    const parameters = new Parameters({ engines, request, models }, this.api);
    const actions = new Actions({ api: this.api, jobs: this.jobs, editor: this.editor, parameters });
    actions.finished = (done) => this.#finished(done);
    actions.addEventListener("change", () => this.sessions.touch());
    actions.running.addEventListener("change", () => this.#title());
    this.#parts = { parameters, actions };
    const plan = async () => {
      const { showCrop, showRing } = this.editor.settings;
      if (!showCrop && !showRing) return;
      this.editor.removeEventListener("setting", plan);
      const { Planning } = await import("./planning.js");
      new Planning(this.api, this.editor, actions);
    };
    this.editor.addEventListener("setting", plan);
    this.#keys();
    const mine = await this.sessions.open();
    if (!this.editor.picture) {
      if (mine) await this.resume(mine);
      else await this.#offerEarlier();
    }
    this.sessions.keep(() => this.collect());
    this.sessions.prune();
    document.body.dataset.ready = "";
  }

  /** @type {{parameters: Parameters, actions: Actions} | null} */
  #parts = null;
  /** @type {import("./variations.js").Results | null} */
  #results = null;

  #closeDrawer = () => false;

  get parts() {
    if (!this.#parts) throw new Error("the page is not ready");
    return this.#parts;
  }

  /** The picture now shown. */
  get picture() {
    return /** @type {Picture | null} */ (this.editor.picture);
  }

  // --- documents -------------------------------------------------------------------------------------------

  /** @param {Blob} blob @param {string} name */
  async open(blob, name) {
    if (!(await this.#mayLeave(name))) return false;
    this.#opening?.abort();
    const opening = (this.#opening = new AbortController());
    const tell = (/** @type {number} */ fraction) => banner(`${say("open.sending", { name })}${fraction < 1 ? ` ${Math.round(100 * fraction)} %` : ""}`, "good busy");
    const timer = setTimeout(tell, 250, 0); // a fast upload needs no words
    try {
      const picture = await this.api.upload(blob, name, { signal: opening.signal, progress: (fraction) => byId("banner").hidden || tell(fraction) });
      this.openPicture({ ...picture, name: picture.name || name });
      if (picture.notes.length > 0) toast(picture.notes.join(" "));
      return true;
    } catch (error) {
      complain(error);
      return false;
    } finally {
      clearTimeout(timer);
      if (this.#opening === opening) banner(this.jobs.online ? "" : say("online.lost"));
    }
  }

  /** Whether the document may go: a mask that was not used yet is asked about. @param {string} next  what would come */
  async #mayLeave(next) {
    if (!this.picture || this.editor.mask.empty) return true;
    const { askLeave } = await import("./ask.js");
    return askLeave(byId("document-name").textContent ?? "", next);
  }

  async openSample() {
    const { drawSample } = await import("./sample.js");
    if (await this.open(await drawSample(), say("welcome.sample.name"))) toast(sayTouch("welcome.sample.hint"));
  }

  /** Begin a document with a picture that the server has. @param {Picture} picture */
  openPicture(picture) {
    this.#results?.hide();
    this.editor.open(picture);
    this.#showDocument(picture);
    this.#parts?.actions.extension.reset();
    this.#parts?.actions.drawSheet();
    byId("canvas").focus({ preventScroll: true });
    announce(`${picture.name}, ${sizeWords(picture)}`);
    this.sessions.touch();
  }

  /** @param {Picture} picture */
  #showDocument(picture) {
    document.body.classList.remove("is-empty");
    byId("welcome").hidden = true;
    for (const id of ["options", "view", "document"]) byId(id).hidden = false;
    for (const id of ["download", "download-more"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = false;
    byId("document-name").textContent = picture.name;
    requestAnimationFrame(() => this.editor.fit());
    this.#historyChanged();
  }

  #historyChanged() {
    const { picture } = this;
    if (!picture) return;
    /** @type {HTMLButtonElement} */ (byId("undo")).disabled = !this.editor.canUndo;
    /** @type {HTMLButtonElement} */ (byId("redo")).disabled = !this.editor.canRedo;
    const bits = picture.bits > 8 ? ` · ${say("file.bits", { bits: picture.bits })}` : "";
    byId("document-facts").textContent = `${sizeWords(picture)}${bits}`;
    this.compare.refresh();
    this.#title();
    this.sessions.touch();
  }

  #title() {
    const { picture } = this;
    const running = this.#parts?.actions.running;
    const progress = running?.job && this.jobs.progress(running.job.id);
    const name = byId("document-name").textContent ?? "";
    if (progress) document.title = say("app.title.running", { percent: `${Math.round(progress.fraction * 100)} %` });
    else if (this.#done && document.hidden) document.title = say("app.title.done", { name });
    else document.title = picture ? say("app.title", { name }) : say("app.name");
  }

  /** @param {import("./actions.js").Done} done */
  async #finished(done) {
    const { Results } = await import("./variations.js");
    this.#results ??= new Results(this.api, this.editor, (order) => this.parts.actions.again(order));
    this.#results.take(done);
    this.#done = true;
    this.#title();
    document.addEventListener("visibilitychange", () => ((this.#done = false), this.#title()), { once: true });
  }

  /** @param {Job} job */
  async useAgain(job) {
    const { actions } = this.parts;
    try {
      if (!this.editor.picture) this.openPicture(await this.api.image(job.payload.image));
      const verb = verbOf(job);
      actions.use(verb, job.payload);
      const { left = 0, right = 0, top = 0, bottom = 0 } = job.payload;
      if (verb === "extend" && [left, right, top, bottom].every((amount) => typeof amount === "number")) actions.extension.reset({ left, right, top, bottom });
      const mask = job.payload.mask && (await this.api.image(job.payload.mask));
      const fits = mask && mask.width === this.editor.picture?.width && mask.height === this.editor.picture?.height;
      if (fits) await this.editor.importMask(await this.api.file(mask.id));
      byId("canvas").focus({ preventScroll: true });
      toast(say(fits ? "gallery.again.mask" : "gallery.again.done"));
    } catch (error) {
      complain(error);
    }
  }

  // --- the session -----------------------------------------------------------------------------------------

  /** What a later page needs to go on. */
  async collect() {
    const { picture } = this;
    if (!picture || !this.#parts) return null;
    const data = { editor: await this.editor.serialize(), actions: this.#parts.actions.serialize(), tool: this.editor.tool };
    return { name: byId("document-name").textContent ?? "", picture: picture.id, data };
  }

  /** @param {import("./session.js").Session} session */
  async resume({ name, picture, data }) {
    try {
      const found = await patiently(() => this.api.image(picture));
      await this.editor.restore(data.editor);
      if (data.tool) this.editor.setTool(data.tool);
      this.#showDocument({ ...found, name });
      this.parts.actions.restore(data.actions);
    } catch (error) {
      await this.sessions.clear();
      if (error instanceof ApiError && error.status === 404) toast(say("error.gone"), { hint: say("error.gone.hint"), bad: true });
      else complain(error);
    }
  }

  async #offerEarlier() {
    const [latest] = await this.sessions.others();
    if (!latest || this.editor.picture) return;
    const resume = () => this.resume(latest);
    drawWelcome({
      sample: () => this.openSample(),
      earlier: { name: latest.name, updated: latest.updated, thumbnail: this.api.thumbnailUrl(latest.picture, 128), resume },
    });
  }

  /** @param {boolean} on */
  #online(on) {
    if (!on) return banner(say("online.lost"), "");
    banner(say("online.back"), "good");
    setTimeout(() => this.jobs.online && banner(""), BACK_MS);
  }

  // --- buttons and keys ------------------------------------------------------------------------------------

  #buttons() {
    const press = (/** @type {string} */ id, /** @type {() => void} */ run) => byId(id).addEventListener("click", run);
    press("undo", () => this.editor.undo());
    press("redo", () => this.editor.redo());
    press("open", () => byId("file-input").click());
    press("gallery", () => this.toggleGallery());
    press("queue", () => this.toggleQueue());
    press("theme", () => this.turnTheme());
    press("download", () => this.save());
    press("download-more", () => this.#downloadMenu());
    press("more", () => this.#moreMenu());
    byId("mask-input").addEventListener("change", async (event) => {
      const input = /** @type {HTMLInputElement} */ (event.target);
      const [file] = input.files ?? [];
      input.value = "";
      if (file) await this.editor.importMask(file).catch(complain);
    });
    this.#showTheme();
  }

  // What is seldom needed is fetched when it is.

  async toggleGallery() {
    const [{ toggleGallery }, { closeDrawer }] = await Promise.all([import("./gallery.js"), import("./drawer.js")]);
    this.#closeDrawer = closeDrawer;
    const open = async (/** @type {Picture} */ picture) => (await this.#mayLeave(picture.name)) && this.openPicture(picture);
    toggleGallery(this.api, this.jobs, { open, again: (job) => this.useAgain(job), download: (picture) => download(this.api.fileUrl(picture.id)) });
  }

  async toggleQueue() {
    const [{ toggleQueue }, { closeDrawer }] = await Promise.all([import("./queue.js"), import("./drawer.js")]);
    this.#closeDrawer = closeDrawer;
    toggleQueue(this.api, this.jobs);
  }

  #countJobs() {
    const count = this.jobs.active().length;
    const badge = byId("queue-count");
    badge.textContent = String(count);
    badge.hidden = count === 0;
    byId("queue").setAttribute("aria-label", count ? `${say("bar.queue")}, ${count}` : say("bar.queue"));
  }

  turnTheme() {
    nextTheme();
    this.#showTheme();
    announce(say("bar.theme", { theme: say(`bar.theme.${theme()}`) }));
  }

  #showTheme() {
    const button = byId("theme");
    const words = say("bar.theme", { theme: say(`bar.theme.${theme()}`) });
    button.setAttribute("aria-label", words);
    button.dataset.tip = words;
    button.dataset.key = "t";
    fill(button, icon(theme()));
  }

  /** @param {string} [format] */
  save(format) {
    const { picture } = this;
    if (picture) download(this.api.fileUrl(picture.id, { format, name: byId("document-name").textContent ?? "" }));
  }

  async saveMask() {
    const { saveMask } = await import("./mask_panel.js");
    return saveMask(this.editor);
  }

  /** @returns {import("./menu.js").Entry[]} */
  #formats() {
    const source = (this.picture?.container ?? "").toUpperCase();
    return [
      { words: say("download.source", { format: source }), icon: "picture", run: () => this.save("source"), testid: "download-source" },
      ...FORMATS.map((format) => ({ words: say(`download.${format}`), run: () => this.save(format), testid: `download-${format}` })),
      null,
      { words: say("download.mask"), icon: "mask", run: () => this.saveMask().catch(complain), disabled: this.editor.mask.empty },
    ];
  }

  #downloadMenu() {
    openMenu(byId("download-more"), say("bar.download.more"), this.#formats());
  }

  #moreMenu() {
    const empty = !this.editor.picture;
    openMenu(byId("more"), say("bar.more"), [
      { words: say("bar.open.tip"), icon: "open", run: () => byId("file-input").click() },
      { words: say("welcome.camera"), icon: "camera", run: () => byId("camera-input").click() },
      { words: say("settings.sheet"), icon: "sliders", run: () => this.parts.actions.openSheet(true), disabled: empty, testid: "more-sheet" },
      { words: say("bar.gallery"), icon: "gallery", run: () => this.toggleGallery() },
      { words: say("bar.queue"), icon: "queue", run: () => this.toggleQueue() },
      { words: say("bar.theme", { theme: say(`bar.theme.${theme()}`) }), icon: theme(), run: () => this.turnTheme() },
      ...(empty ? [] : [null, ...this.#formats().slice(0, 3)]),
    ]);
  }

  #keys() {
    const { editor, toolbar, compare } = this;
    const { actions } = this.parts;
    const verbs = /** @type {const} */ (["remove", "replace", "repair", "extend"]);
    /** @type {import("./shortcuts.js").Shortcut[]} */
    const table = [
      ...TOOLS.flatMap((tool) => (tool ? [{ part: "tools", keys: [tool[1]], words: say(`tool.${tool[0]}`), run: () => toolbar.pick(tool[0]) }] : [])),
      { part: "mask", keys: ["["], words: say("key.smaller"), run: () => toolbar.resizeBrush(1 / 1.15) },
      { part: "mask", keys: ["]"], words: say("key.larger"), run: () => toolbar.resizeBrush(1.15) },
      { part: "mask", keys: ["{", "}"], shown: "{ | }", words: say("key.softer"), run: (key) => toolbar.hardenBrush(key === "{" ? -0.1 : 0.1) },
      { part: "mask", keys: ["x"], words: say("key.swap"), run: () => toolbar.pick(editor.tool === "eraser" ? "brush" : "eraser") },
      { part: "mask", keys: ["i"], words: say("key.invert"), run: () => editor.invertMask() },
      { part: "mask", keys: ["Delete", "Backspace"], words: say("key.clear"), run: () => editor.clearMask() },
      { part: "view", keys: [], shown: "Space", words: say("key.pan"), run: null },
      { part: "view", keys: [], shown: "Wheel", words: say("key.zoom"), run: null },
      { part: "view", keys: ["+", "=", "-"], shown: "+ | -", words: say("key.scale"), run: (key) => editor.zoomBy(key === "-" ? 1 / 1.25 : 1.25) },
      { part: "view", keys: ["0"], words: say("key.fit"), run: () => editor.fit() },
      { part: "view", keys: ["z"], words: say("key.actual"), run: () => editor.actualSize() },
      { part: "view", keys: ["\\"], words: say("key.compare"), run: () => compare.hold(true), released: () => compare.hold(false) },
      { part: "view", keys: ["c"], words: say("key.split"), run: () => compare.toggleSplit() },
      { part: "work", keys: ["Enter", "Ctrl Enter"], words: say("key.go"), run: () => actions.run() },
      { part: "work", keys: ["Escape"], words: say("key.escape"), run: () => this.escape(), always: true },
      { part: "work", keys: ["Ctrl z"], words: say("key.undo"), run: () => editor.undo() },
      { part: "work", keys: ["Ctrl Shift z", "Ctrl y"], words: say("key.redo"), run: () => editor.redo() },
      { part: "work", keys: ["1", "2", "3", "4"], shown: "1 | 2 | 3 | 4", words: say("key.verbs"), run: (key) => actions.choose(verbs[Number(key) - 1]) },
      { part: "panels", keys: ["o", "Ctrl o"], words: say("key.open"), run: () => byId("file-input").click(), always: true },
      { part: "panels", keys: [], shown: "Ctrl v", words: say("key.paste"), run: null },
      { part: "panels", keys: ["Ctrl s"], words: say("key.download"), run: () => this.save() },
      { part: "panels", keys: ["a"], words: say("key.gallery"), run: () => this.toggleGallery(), always: true },
      { part: "panels", keys: ["q"], words: say("key.queue"), run: () => this.toggleQueue(), always: true },
      { part: "panels", keys: ["t"], words: say("bar.theme", { theme: "" }).replace(/\W+$/, ""), run: () => this.turnTheme(), always: true },
      { part: "panels", keys: ["?"], words: say("key.help"), run: () => shortcuts.show(), always: true },
    ];
    const shortcuts = new Shortcuts(table, () => this.editor.picture !== null);
    byId("shortcuts").addEventListener("click", () => shortcuts.show());
  }

  escape() {
    const { actions } = this.parts;
    if (this.#closeDrawer()) return;
    if (byId("sheet").classList.contains("open")) return actions.openSheet(false);
    actions.cancel();
  }
}

/** Let the browser save a file of the server. @param {string} url */
function download(url) {
  const link = h("a", { href: url, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/**
 * After a press with a pointer the keys belong to the canvas again, so that Enter fills. Only who walks by Tab is
 * shown that the canvas has the focus: a shortcut says nothing about where one is.
 */
function watchFocus() {
  const root = document.documentElement;
  addEventListener("pointerdown", () => (root.dataset.by = "pointer"), true);
  addEventListener("keydown", (event) => event.key === "Tab" && (root.dataset.by = "keys"), true);
  document.addEventListener("click", (event) => {
    const pressed = event.target instanceof Element && event.target.closest(".tools .tool, .bar-edit .tool, .view button, .verb");
    if (pressed && event.detail > 0) byId("canvas").focus({ preventScroll: true });
  });
}

/** @param {Picture} picture */
function sizeWords({ width, height }) {
  return say("file.size", { width, height });
}

/**
 * Try until the server answers; what it answers to is not retried.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function patiently(ask) {
  for (let pause = 300; ; pause = Math.min(5000, pause * 2)) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError) || (error.code !== "network" && error.status < 500)) throw error;
      banner(say("online.lost"), "");
      await new Promise((resolve) => setTimeout(resolve, pause));
      banner("");
    }
  }
}

/** Show a line below the bar; "" hides it. @param {string} words @param {string} [look] */
function banner(words, look = "") {
  const box = byId("banner");
  box.hidden = words === "";
  box.className = `banner ${look}`;
  fill(box, h("i"), words);
}

translate(document);
drawIcons(document);
startTips();
new Page().start().catch(complain);
