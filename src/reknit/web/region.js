// @ts-check
/** Draws a part of a picture from its tiles, at any size. Knows tiles' addresses; knows no editor. */

/** @typedef {import("./api.js").Picture} Picture */
/** @typedef {import("./api.js").Box} Box */

/**
 * The part around what changed, with surroundings, in a given shape.
 * @param {Picture} picture @param {Box | null} box @param {number} shape  width over height
 * @returns {Box}
 */
export function surroundings({ width, height }, box, shape) {
  const [x0, y0, x1, y1] = box ?? [0, 0, width, height];
  let wide = Math.max(160, (x1 - x0) * 1.7);
  let high = Math.max(160, (y1 - y0) * 1.7);
  if (wide / high < shape) wide = high * shape;
  else high = wide / shape;
  const least = Math.min(1, width / wide, height / high);
  [wide, high] = [wide * least, high * least];
  const left = Math.max(0, Math.min(width - wide, (x0 + x1 - wide) / 2));
  const top = Math.max(0, Math.min(height - high, (y0 + y1 - high) / 2));
  return [left, top, left + wide, top + high];
}

/**
 * Draw a part of a picture over the whole of a canvas.
 * @param {HTMLCanvasElement} canvas @param {import("./api.js").Api} api @param {Picture} picture @param {Box} part
 * @param {AbortSignal} [signal]
 */
export async function drawRegion(canvas, api, picture, [x0, y0, x1, y1], signal) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const scale = canvas.width / (x1 - x0);
  const level = Math.max(0, Math.min(picture.levels - 1, Math.floor(Math.log2(1 / scale) + 1e-6)));
  const span = picture.tile_px * 2 ** level;
  const jobs = [];
  for (let row = Math.floor(y0 / span); row * span < y1; row++) {
    for (let column = Math.floor(x0 / span); column * span < x1; column++) {
      jobs.push(drawTile(column, row));
    }
  }
  await Promise.all(jobs);

  /** @param {number} column @param {number} row */
  async function drawTile(column, row) {
    const answer = await fetch(api.tileUrl(picture.id, level, column, row), { signal });
    if (!answer.ok || !context) return;
    const bitmap = await createImageBitmap(await answer.blob());
    const wide = Math.min(span, picture.width - column * span);
    const high = Math.min(span, picture.height - row * span);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (column * span - x0) * scale, (row * span - y0) * scale, wide * scale, high * scale);
    bitmap.close();
  }
}
