// @ts-check
/**
 * How pictures come in: dropped, pasted, dragged from another window, chosen or taken. Hands over files; sends
 * nothing and shows nothing but where one may let go.
 */

import { byId } from "./dom.js";
import { toast } from "./notices.js";
import { say } from "./strings.js";

const ENDINGS = /\.(jpe?g|png|webp|tiff?|hei[cf]|avif|gif|bmp|jxl|jp2|ppm|pgm)$/i;

/** @param {File} file */
function looksLikePicture(file) {
  return file.type.startsWith("image/") || ENDINGS.test(file.name);
}

/**
 * Watch the window for pictures.
 * @param {(blob: Blob, name: string) => void} take
 */
export function watchFiles(take) {
  for (const id of ["file-input", "camera-input"]) {
    const input = /** @type {HTMLInputElement} */ (byId(id));
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file) take(file, file.name);
      input.value = "";
    });
  }
  watchDrops(take);
  addEventListener("paste", (event) => {
    if (event.target instanceof Element && event.target.closest("input, textarea")) return;
    const files = [...(event.clipboardData?.files ?? [])].filter(looksLikePicture);
    if (files.length === 0) return toast(say("error.clipboard"), { hint: say("open.none.hint"), bad: true });
    event.preventDefault();
    take(files[0], files[0].name || "pasted.png");
  });
}

/** @param {(blob: Blob, name: string) => void} take */
function watchDrops(take) {
  const sign = byId("dropping");
  let depth = 0;
  const mayHold = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/uri-list");
  addEventListener("dragenter", (event) => {
    if (!mayHold(event)) return;
    depth += 1;
    sign.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) sign.hidden = true;
  });
  addEventListener("dragover", (event) => {
    if (!mayHold(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    depth = 0;
    sign.hidden = true;
    if (event.defaultPrevented || !mayHold(event) || !event.dataTransfer) return;
    event.preventDefault();
    takeDrop(event.dataTransfer, take);
  });
}

/** @param {DataTransfer} data @param {(blob: Blob, name: string) => void} take */
function takeDrop(data, take) {
  const files = [...data.files];
  const picture = files.find(looksLikePicture) ?? files[0];
  if (picture) {
    if (files.length > 1) toast(say("open.many", { count: files.length }));
    return take(picture, picture.name);
  }
  const [link] = data.getData("text/uri-list").split(/\r?\n/).filter((line) => line && !line.startsWith("#"));
  if (link) return fetchLink(link, take);
  toast(say("open.none"), { hint: say("open.none.hint"), bad: true });
}

/**
 * A picture dragged out of another page is often only its address. What lies in the address itself can be had;
 * anything else would mean a request to a stranger's server, which this page never makes.
 * @param {string} link @param {(blob: Blob, name: string) => void} take
 */
async function fetchLink(link, take) {
  const url = new URL(link, location.href);
  try {
    if (url.protocol !== "data:" && url.origin !== location.origin) throw new Error("elsewhere");
    const blob = await (await fetch(url)).blob();
    if (!blob.type.startsWith("image/")) throw new Error("no picture");
    take(blob, url.protocol === "data:" ? "dropped.png" : decodeURIComponent(url.pathname.split("/").pop() || "dropped.png"));
  } catch {
    toast(say("open.link"), { hint: say("open.link.hint"), bad: true });
  }
}
