// @ts-check
/**
 * The one job that this page waits for: submitting, progress with time left and live preview, cancel, and finding
 * it again after a reload. Draws the progress; knows no verbs and no results.
 */

import { ApiError, freshKey } from "./api.js";
import { h } from "./dom.js";
import { announce } from "./notices.js";
import { duration, knows, say } from "./strings.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Progress} Progress */
/** @typedef {"fill" | "extend" | "repair"} Kind */

export class Running extends EventTarget {
  /** @type {Job | null} */
  job = null;
  /** @type {AbortController | null} */
  #abort = null;
  #bar = h("div", { class: "track unsure" }, h("i"));
  #words = h("span", null, "");
  #left = h("span", null, "");
  #button = h("button", { type: "button", class: "button", "data-testid": "cancel", "data-key": "Escape", onclick: () => this.cancel() }, say("run.cancel"));
  /** What is shown while a job is under way. */
  element = h(
    "div",
    { class: "progress", "data-testid": "progress" },
    h("div", { role: "progressbar", "aria-label": say("run.progress"), "aria-valuemin": 0, "aria-valuemax": 100 }, h("div", { class: "words" }, this.#words, this.#left), this.#bar),
    this.#button,
  );

  /** @param {import("./api.js").Api} api @param {import("./jobs.js").Jobs} jobs @param {import("./editor.js").Editor} editor */
  constructor(api, jobs, editor) {
    super();
    this.api = api;
    this.jobs = jobs;
    this.editor = editor;
    jobs.addEventListener("progress", (event) => this.#progress(/** @type {CustomEvent<Progress>} */ (event).detail));
    jobs.addEventListener("job", (event) => {
      const job = /** @type {CustomEvent<Job>} */ (event).detail;
      if (job.id === this.job?.id) this.#show((this.job = job));
    });
  }

  get busy() {
    return this.#abort !== null;
  }

  /**
   * Submit a job and wait for it.
   * @param {Kind} kind @param {(signal: AbortSignal) => Promise<object>} make  what to send, once it is ready
   * @param {(job: Job) => void} [accepted]
   * @returns {Promise<Job>} done
   * @throws {ApiError} when it failed; an AbortError when it was cancelled
   */
  submit(kind, make, accepted) {
    return this.#hold(async (signal) => {
      const body = await make(signal);
      const job = await this.api[kind](body, { key: freshKey(), signal });
      this.job = job;
      accepted?.(job);
      return job;
    });
  }

  /**
   * Wait for a job that an earlier page submitted.
   * @param {string} id
   */
  resume(id) {
    return this.#hold(async (signal) => (this.job = await this.api.job(id, { signal })));
  }

  /** @param {(signal: AbortSignal) => Promise<Job>} begin @returns {Promise<Job>} */
  async #hold(begin) {
    if (this.#abort) throw new DOMException("busy", "AbortError");
    const abort = (this.#abort = new AbortController());
    this.#say(say("run.sending"), null, "");
    this.#button.disabled = false;
    document.body.classList.add("running");
    this.editor.busy(true);
    this.dispatchEvent(new Event("change"));
    try {
      const job = await begin(abort.signal);
      this.#show(job);
      if (abort.signal.aborted) await this.jobs.cancel(job.id);
      return outcome(await this.jobs.follow(job));
    } finally {
      this.job = null;
      this.#abort = null;
      document.body.classList.remove("running");
      this.editor.setPreview(null, [0, 0, 0, 0]);
      this.editor.busy(false);
      this.dispatchEvent(new Event("change"));
    }
  }

  /** Ask the server to stop; the job ends soon after. */
  async cancel() {
    if (!this.#abort) return;
    this.#words.textContent = say("run.cancelling");
    this.#button.disabled = true;
    this.dispatchEvent(new Event("change"));
    if (!this.job) return this.#abort.abort(new DOMException("cancelled", "AbortError"));
    try {
      await this.jobs.cancel(this.job.id);
    } catch {
      this.#button.disabled = false;
    }
  }

  /** @param {Job} job */
  #show(job) {
    if (job.state === "queued") {
      const before = job.position ?? 0;
      this.#say(before > 0 ? say("run.queued", { count: before }) : say("run.next"), null, "");
    } else if (job.state === "running" && !this.jobs.progress(job.id)) {
      this.#say(say("run.working"), job.fraction || null, "");
    }
  }

  /** @param {Progress} progress */
  #progress(progress) {
    if (progress.id !== this.job?.id) return;
    const left = progress.seconds_left;
    this.#say(stageWords(progress.stage), progress.fraction, left === null ? "" : say("run.left", { time: duration(left) }));
    if (progress.preview) this.#preview(progress);
  }

  /** @param {Progress} progress */
  async #preview({ id, preview }) {
    try {
      const bitmap = await createImageBitmap(await (await fetch(preview.image)).blob());
      if (id === this.job?.id) this.editor.setPreview(bitmap, preview.box);
      (await import("./hurry.js")).offerHurry(this, this.#button);
    } catch {
      // a preview that cannot be shown is no loss
    }
  }

  /** @param {string} words @param {number | null} fraction @param {string} left */
  #say(words, fraction, left) {
    if (!this.#button.disabled) this.#words.textContent = words;
    this.#left.textContent = fraction === null ? left : [`${Math.round(fraction * 100)} %`, left].filter(Boolean).join(" · ");
    this.#bar.classList.toggle("unsure", fraction === null);
    this.#bar.style.setProperty("--done", String(fraction ?? 0));
    const role = /** @type {Element} */ (this.element.firstElementChild);
    if (fraction === null) role.removeAttribute("aria-valuenow");
    else role.setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
    role.setAttribute("aria-valuetext", [words, this.#left.textContent].filter(Boolean).join(", "));
  }
}

/** @param {string} stage */
function stageWords(stage) {
  if (!stage) return say("run.working");
  return knows(`stage.${stage}`) ? say(`stage.${stage}`) : stage;
}

/** @param {Job} job @returns {Job} */
function outcome(job) {
  if (job.state === "done") return job;
  if (job.state === "cancelled") {
    announce(say("run.cancelled"));
    throw new DOMException("cancelled", "AbortError");
  }
  const { code = "jobs.failed", message = say("error.worker"), hint = "", facts } = job.error ?? {};
  throw new ApiError({ status: 200, code, message, hint, facts });
}
