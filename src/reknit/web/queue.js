// @ts-check
/** The queue: what runs, what waits, what ended lately; cancel, end early, try again, remove. */

import { fill, h, iconButton } from "./dom.js";
import { nothing, toggleDrawer } from "./drawer.js";
import { batchState, batchTitle, openFolder } from "./folder.js";
import { hurryButton, mayHurry } from "./hurry.js";
import { icon } from "./icons.js";
import { verbOf } from "./jobs.js";
import { complain } from "./notices.js";
import { ago, duration, say } from "./strings.js";

/** @typedef {import("./api.js").Job} Job */

const LATELY = 20;

/**
 * Open the queue, or close it.
 * @param {import("./api.js").Api} api @param {import("./jobs.js").Jobs} jobs
 */
export function toggleQueue(api, jobs) {
  new Queue(api, jobs).toggle();
}

class Queue {
  /** @param {import("./api.js").Api} api @param {import("./jobs.js").Jobs} jobs */
  constructor(api, jobs) {
    this.api = api;
    this.jobs = jobs;
  }

  toggle() {
    toggleDrawer("queue", say("queue.title"), (body) => {
      const draw = () => this.#draw(body);
      const progress = (/** @type {Event} */ event) => {
        const { id, fraction, stage } = /** @type {CustomEvent<import("./api.js").Progress>} */ (event).detail;
        const track = /** @type {HTMLElement | null} */ (body.querySelector(`[data-job="${id}"] .track`));
        track?.classList.remove("unsure");
        track?.style.setProperty("--done", String(fraction));
        const job = this.jobs.get(id);
        if (job && track && !body.querySelector(`[data-hurry="${id}"]`) && mayHurry(this.jobs, job)) draw();
        const words = job?.kind === "batch" && stage && body.querySelector(`[data-job="${id}"] small`);
        if (words) words.textContent = stage;
      };
      this.jobs.addEventListener("job", draw);
      this.jobs.addEventListener("progress", progress);
      draw();
      this.api.jobs({ limit: LATELY }).then(({ jobs }) => jobs.forEach((job) => this.jobs.add(job)), complain);
      return () => {
        this.jobs.removeEventListener("job", draw);
        this.jobs.removeEventListener("progress", progress);
      };
    });
  }

  /** @param {HTMLElement} body */
  #draw(body) {
    const focused = document.activeElement instanceof HTMLElement && body.contains(document.activeElement) ? document.activeElement.id : "";
    const active = this.jobs.active();
    const running = active.filter(({ state }) => state === "running");
    const waiting = active.filter(({ state }) => state === "queued");
    const ended = this.jobs.ended().slice(0, LATELY);
    const part = (/** @type {string} */ title, /** @type {Job[]} */ jobs) =>
      jobs.length > 0 ? [h("h3", null, title), h("ul", { class: "jobs" }, ...jobs.map((job) => this.#row(job)))] : [];
    const parts = [...part(say("queue.now"), running), ...part(say("queue.waiting"), waiting), ...part(say("queue.before"), ended)];
    const open = h("button", { type: "button", class: "button small", id: "queue-folder", "data-testid": "folder-open", onclick: () => openFolder(this.api, this.jobs).catch(complain) }, icon("gallery"), say("folder.open"));
    fill(body, ...(parts.length > 0 ? parts : [nothing(say("queue.empty"), "queue")]), h("div", { class: "more" }, open));
    if (focused) document.getElementById(focused)?.focus();
  }

  /** @param {Job} job */
  #row(job) {
    const batch = job.kind === "batch";
    const verb = batch ? batchTitle(job) : say(`verb.${verbOf(job)}`);
    const active = job.state === "queued" || job.state === "running";
    const picture = job.result?.images?.[0]?.id ?? job.payload.image;
    const act = (/** @type {string} */ words, /** @type {string} */ name, /** @type {(id: string) => Promise<void>} */ run) =>
      iconButton(words, icon(name), { id: `${name}-${job.id}`, onclick: () => run.call(this.jobs, job.id).catch(complain) });
    const report = batch && job.result && h("a", { href: this.api.reportUrl(job.id), target: "_blank", rel: "noopener", "data-testid": "folder-report" }, say("folder.report"));
    const hurry = mayHurry(this.jobs, job) && hurryButton(this.jobs, job.id, { class: "button small", id: `hurry-${job.id}`, "aria-label": say("queue.hurry", { verb }) });
    const acts = active
      ? [hurry, act(say("queue.cancel", { verb }), "close", this.jobs.cancel)]
      : [job.state !== "done" && act(say("queue.retry"), "again", this.jobs.retry), act(say("queue.remove"), "trash", this.jobs.remove)];
    const fraction = this.jobs.progress(job.id)?.fraction ?? job.fraction;
    const track = h("div", { class: fraction ? "track" : "track unsure" }, h("i"));
    track.style.setProperty("--done", String(fraction));
    return h(
      "li",
      { "data-job": job.id, "data-testid": "queue-item" },
      picture ? h("img", { src: this.api.thumbnailUrl(picture, 128), alt: "", loading: "lazy" }) : h("span", { class: "shape" }, icon("gallery")),
      h("div", null, h("strong", null, verb), h("small", { class: job.state === "failed" ? "bad" : null }, (batch && batchState(job, this.jobs.progress(job.id)?.stage)) || stateWords(job)), report),
      h("div", { class: "acts" }, ...acts),
      job.state === "running" && track,
    );
  }
}

/** @param {Job} job */
function stateWords({ state, error, position, started, finished }) {
  if (state === "failed") return [error?.message, error?.hint].filter(Boolean).join(". ") || say("state.failed");
  if (state === "queued") return position ? say("run.queued", { count: position }) : say("run.next");
  if (state === "done" && started && finished) return `${say("run.done", { time: duration(finished - started) })} · ${ago(finished)}`;
  return say(`state.${state}`);
}
