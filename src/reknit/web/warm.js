// @ts-check
/** Runs the painting code once while the page is idle, so that it is compiled before the first stroke. */

import { Mask } from "./mask.js";
import { Overlay } from "./overlay.js";
import { Segment } from "./raster.js";
import { Viewport } from "./viewport.js";

const SIDE = 512;
const ROUNDS = 6;

/** @param {AbortSignal} signal */
export function warmUp(signal) {
  const idle = window.requestIdleCallback ?? ((/** @type {() => void} */ act) => setTimeout(act, 200));
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const overlay = new Overlay(canvas);
  const view = new Viewport();
  const mask = new Mask(SIDE, SIDE);
  overlay.setMask(mask);
  mask.changed = (box) => overlay.mask?.changed(box);
  let round = 0;
  const step = () => {
    if (signal.aborted) return;
    mask.begin();
    const angle = round;
    const a = { x: SIDE / 2, y: SIDE / 2, r: 60 };
    const b = { x: a.x + 90 * Math.cos(angle), y: a.y + 90 * Math.sin(angle), r: 60 };
    for (const hardness of [0, 1]) mask.stamp(new Segment(a, b, hardness, round === 0), false);
    view.scale = round % 2 ? 1 : 0.3;
    overlay.draw(view, [0, 0, SIDE * view.scale, SIDE * view.scale]);
    mask.abort();
    if (++round < ROUNDS) idle(step);
  };
  idle(step);
}
