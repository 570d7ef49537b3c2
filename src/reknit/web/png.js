// @ts-check
/** Grey 8-bit pictures as PNG: written through the browser's own deflate, read through its own decoder. */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const BAND = 256;

const CRC_TABLE = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/**
 * Write a grey PNG, band by band, so that it is never in memory as a whole.
 *
 * @param {number} width @param {number} height
 * @param {(y0: number, y1: number, into: Uint8Array) => void} read  puts rows y0…y1 into a buffer
 * @returns {Promise<Blob>}
 */
export async function encodeGrey(width, height, read) {
  const deflate = new CompressionStream("deflate");
  const packed = new Response(deflate.readable).arrayBuffer();
  const writer = deflate.writable.getWriter();
  const rows = new Uint8Array(width * Math.min(BAND, height));
  for (let y0 = 0; y0 < height; y0 += BAND) {
    const y1 = Math.min(height, y0 + BAND);
    read(y0, y1, rows);
    // Each row is led by its filter: 0, none.
    const lines = new Uint8Array((width + 1) * (y1 - y0));
    for (let y = 0; y < y1 - y0; y++) lines.set(rows.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
    await writer.ready;
    writer.write(lines).catch(() => {});
  }
  await writer.close();
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 0, 0, 0, 0], 8);
  return new Blob(
    [
      new Uint8Array(SIGNATURE),
      ...chunk("IHDR", header),
      ...chunk("IDAT", new Uint8Array(await packed)),
      ...chunk("IEND", new Uint8Array(0)),
    ],
    { type: "image/png" },
  );
}

/**
 * Read any picture as grey (its luma, times its opacity), scaled to a size if it has another.
 *
 * @param {Blob} blob
 * @param {number} [width] @param {number} [height]
 * @returns {Promise<{width: number, height: number, pixels: Uint8Array}>}
 */
export async function decodeGrey(blob, width, height) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  try {
    const across = width ?? bitmap.width;
    const down = height ?? bitmap.height;
    const pixels = new Uint8Array(across * down);
    const canvas = new OffscreenCanvas(across, Math.min(BAND, down));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
    context.imageSmoothingEnabled = false;
    for (let y0 = 0; y0 < down; y0 += BAND) {
      context.clearRect(0, 0, across, BAND);
      context.drawImage(bitmap, 0, -y0, across, down);
      const rows = Math.min(BAND, down - y0);
      const { data } = context.getImageData(0, 0, across, rows);
      for (let i = 0, to = y0 * across; i < data.length; i += 4, to++) {
        const luma = data[i] === data[i + 1] && data[i] === data[i + 2] ? data[i] : 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2];
        pixels[to] = Math.round((luma * data[i + 3]) / 255);
      }
    }
    return { width: across, height: down, pixels };
  } finally {
    bitmap.close();
  }
}

/** The size of a picture. @param {Blob} blob */
export async function sizeOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const size = { width: bitmap.width, height: bitmap.height };
  bitmap.close();
  return size;
}

/** @param {string} name @param {Uint8Array<ArrayBuffer>} data */
function chunk(name, data) {
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, data.length);
  const head = new TextEncoder().encode(name);
  const check = new DataView(new ArrayBuffer(4));
  check.setUint32(0, ~crc(data, crc(head, 0xffffffff)) >>> 0);
  return [length, head, data, check];
}

/** @param {Uint8Array} data @param {number} value */
function crc(data, value) {
  for (let i = 0; i < data.length; i++) value = CRC_TABLE[(value ^ data[i]) & 255] ^ (value >>> 8);
  return value >>> 0;
}
