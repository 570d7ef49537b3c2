// @ts-check
/** Past results, newest first: open one, use its recipe again, download or delete it. */

import { byId, fill, h, iconButton } from "./dom.js";
import { closeDrawer, nothing, toggleDrawer } from "./drawer.js";
import { icon } from "./icons.js";
import { verbOf } from "./jobs.js";
import { openMenu } from "./menu.js";
import { complain, toast } from "./notices.js";
import { ago, say } from "./strings.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Picture} Picture */
/** @typedef {{open: (picture: Picture) => void, again: (job: Job) => void, download: (picture: Picture) => void}} Uses */

const PAGE = 24;

/**
 * Open the gallery, or close it.
 * @param {import("./api.js").Api} api @param {import("./jobs.js").Jobs} jobs @param {Uses} uses
 */
export function toggleGallery(api, jobs, uses) {
  new Gallery(api, jobs, uses).toggle();
}

class Gallery {
  /** @param {import("./api.js").Api} api @param {import("./jobs.js").Jobs} jobs @param {Uses} uses */
  constructor(api, jobs, uses) {
    this.api = api;
    this.jobs = jobs;
    this.uses = uses;
  }

  toggle() {
    toggleDrawer("gallery", say("gallery.title"), (body) => {
      const grid = h("div", { class: "grid", "data-testid": "gallery-items" });
      const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => load() }, say("gallery.more"));
      fill(body, grid, more);
      let before = "";
      const load = async () => {
        more.hidden = true;
        try {
          const { jobs } = await this.api.jobs({ state: "done", limit: PAGE, before });
          grid.append(...jobs.filter((job) => job.result?.images?.length).map((job) => this.#item(job)));
          before = jobs.at(-1)?.id ?? "";
          more.hidden = jobs.length < PAGE;
          if (!grid.firstChild && more.hidden) fill(body, nothing(say("gallery.empty"), "gallery"));
        } catch (error) {
          complain(error);
        }
      };
      const fresh = (/** @type {Event} */ event) => {
        const job = /** @type {CustomEvent<Job>} */ (event).detail;
        if (job.state !== "done" || !job.result?.images?.length || grid.querySelector(`[data-job="${job.id}"]`)) return;
        if (!grid.isConnected) fill(body, grid, more);
        grid.prepend(this.#item(job));
      };
      this.jobs.addEventListener("job", fresh);
      load();
      return () => this.jobs.removeEventListener("job", fresh);
    });
  }

  /** @param {Job} job */
  #item(job) {
    const images = /** @type {Picture[]} */ (job.result?.images);
    const image = images[0];
    const verb = say(`verb.${verbOf(job)}`);
    const when = ago(job.finished ?? job.created);
    const words = say("gallery.item", { verb, when });
    const open = () => (closeDrawer(), this.uses.open(image));
    const menu = iconButton(say("bar.more"), icon("more"), {
      id: `item-${job.id}`, "aria-haspopup": "menu",
      onclick: () =>
        openMenu(menu, words, [
          { words: say("gallery.open"), icon: "picture", run: open },
          // What other programs' clients painted has no mask to use again.
          ...(job.kind === "paint" ? [] : [{ words: say("gallery.again"), icon: "again", run: () => (closeDrawer(), this.uses.again(job)), testid: "use-again" }]),
          { words: say("gallery.download"), icon: "download", run: () => this.uses.download(image) },
          null,
          { words: say("gallery.delete"), icon: "trash", run: () => this.#delete(job, item) },
        ]),
    });
    const many = images.length > 1 && h("span", { class: "many", "aria-hidden": "true" }, images.length);
    const name = many ? `${words}, ${say("gallery.count", { n: images.length })}` : words;
    const item = h(
      "div",
      { class: "item", "data-job": job.id, "data-testid": "gallery-item" },
      h("button", { type: "button", class: "shot", "aria-label": `${say("gallery.open")}: ${name}`, onclick: open }, h("img", { src: this.api.thumbnailUrl(image.id, 384), alt: "", loading: "lazy" }), many),
      h("div", { class: "under" }, h("div", null, h("strong", null, verb), h("span", null, when)), menu),
    );
    return item;
  }

  /** @param {Job} job @param {HTMLElement} item */
  async #delete(job, item) {
    try {
      await this.jobs.remove(job.id);
      item.remove();
      toast(say("gallery.deleted"));
      byId("gallery").focus();
    } catch (error) {
      complain(error);
    }
  }
}
