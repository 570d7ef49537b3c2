// @ts-check
// A page with an Editor and nothing else; its server is a canvas that draws tiles of made-up photos.

import { Editor } from "/web/editor.js";
import { encodeGrey } from "/web/png.js";

const TILE = 512;

/** Draw a part of a made-up landscape, the same at every level; colours tell places apart. */
function paint(context, picture, scale) {
  const { width, height, look } = picture;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#5b8fc9");
  sky.addColorStop(0.55, "#f3ddc0");
  sky.addColorStop(0.56, "#6d7f52");
  sky.addColorStop(1, "#27331f");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  for (let i = 0; i < 40; i++) {
    context.fillStyle = `hsl(${(i * 47) % 360} 45% ${30 + ((i * 13) % 40)}%)`;
    context.beginPath();
    context.arc(((i * 379) % 1000) / 1000 * width, (0.56 + ((i * 211) % 440) / 1000) * height, width * (0.008 + (i % 5) * 0.004), 0, 7);
    context.fill();
  }
  context.fillStyle = "#fff6d8";
  context.beginPath();
  context.arc(width * 0.78, height * 0.18, width * 0.05, 0, 7);
  context.fill();
  for (const { box, colour } of look ?? []) {
    context.fillStyle = colour;
    context.fillRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  }
}

export class FakeApi {
  pictures = new Map();
  files = new Map();
  asked = [];
  /** What answers wait for. */
  held = null;
  drawn = [];
  answer = null;

  /** Make a picture. */
  make(id, width, height, more = {}) {
    let levels = 1;
    while (Math.max(width, height) / 2 ** (levels - 1) > TILE) levels++;
    const picture = { id, width, height, tile_px: TILE, levels, alpha: false, parent: null, box: null, name: `${id}.jpg`, ...more };
    this.pictures.set(id, picture);
    return picture;
  }

  /** A picture made from another by painting a box. */
  derive(id, parent, box, colour) {
    const { width, height, look = [] } = this.pictures.get(parent);
    return this.make(id, width, height, { parent, box, look: [...look, { box, colour }] });
  }

  /** Let answers wait until `release`. */
  hold() {
    this.held = new Promise((resolve) => (this.release = () => (resolve(), (this.held = null))));
  }

  tileUrl(id, level, column, row) {
    return `/tile/${id}/${level}/${column}/${row}`;
  }

  async tile(id, level, column, row, signal) {
    this.drawn.push(`${id}/${level}/${column}/${row}`);
    await this.held;
    if (signal?.aborted) throw signal.reason;
    const picture = this.pictures.get(id);
    const side = TILE * 2 ** level;
    const across = Math.ceil(Math.min(side, picture.width - column * side) / 2 ** level);
    const down = Math.ceil(Math.min(side, picture.height - row * side) / 2 ** level);
    const canvas = new OffscreenCanvas(across, down);
    const context = canvas.getContext("2d");
    context.scale(1 / 2 ** level, 1 / 2 ** level);
    context.translate(-column * side, -row * side);
    paint(context, picture, level);
    return canvas.convertToBlob({ type: picture.alpha ? "image/png" : "image/jpeg", quality: 0.92 });
  }

  async select(body, { signal } = {}) {
    this.asked.push(body);
    await this.held;
    signal?.throwIfAborted();
    const { box, fill } = this.answer(body);
    const [width, height] = [box[2] - box[0], box[3] - box[1]];
    const blob = await encodeGrey(width, height, (y0, y1, into) => {
      for (let y = y0; y < y1; y++) for (let x = 0; x < width; x++) into[(y - y0) * width + x] = fill(x + box[0], y + box[1]) ? 255 : 0;
    });
    this.files.set("selected", blob);
    return { mask: "selected", box, area_px: 0, method: body.method };
  }

  async file(id) {
    return this.files.get(id);
  }
}

const api = new FakeApi();

// The editor fetches tiles by address: answer those here.
const fetched = window.fetch.bind(window);
window.fetch = async (address, init) => {
  const [, tile, id, ...numbers] = String(address).split("/");
  if (tile !== "tile") return fetched(address, init);
  const blob = await api.tile(id, ...numbers.map(Number), init?.signal);
  return blob ? new Response(blob) : new Response("", { status: 500 });
};

const editor = new Editor(document.getElementById("canvas"), { api });
const events = [];
for (const name of ["mask", "history", "tool", "view", "setting", "extend", "split", "error"]) {
  editor.addEventListener(name, (event) => events.push({ name, detail: event.detail }));
}

/** The bytes of a blob as text. */
async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

/** A picture of a colour. */
async function plain(width, height, colour) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, width, height);
  return createImageBitmap(canvas);
}

/** Whether anything is drawn over the picture and its mask. */
function marked() {
  const { width, height } = document.querySelector(".canvas-marks");
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(document.querySelector(".canvas-marks"), 0, 0);
  return context.getImageData(0, 0, width, height).data.some((value) => value > 0);
}

Object.assign(window, { marked, api, editor, events, base64, plain, encodeGrey, Editor, FakeApi });
