// @ts-check
/**
 * Every word of the page, in one place, so that a translation is one file. Keys are dotted; values may hold
 * {placeholders}. A value with several forms is an object of plural categories (see Intl.PluralRules).
 * Nothing here knows the page's elements but `translate`, which fills those that name a key.
 */

/** @typedef {Record<string, string | number>} Values */

/** @type {Record<string, string | {one: string, other: string}>} */
const english = {
  "app.name": "Reknit",
  "app.skip": "Skip to the picture",
  "app.title": "{name} · Reknit",
  "app.title.running": "{percent} · Reknit",
  "app.title.done": "✓ {name} · Reknit",

  "bar.label": "Document",
  "bar.open.tip": "Open a photo",
  "bar.undo": "Undo",
  "bar.redo": "Redo",
  "bar.compare": "Hold to see the original",
  "bar.split": "Before and after",
  "compare.before": "Before",
  "compare.after": "After",
  "bar.gallery": "Gallery",
  "bar.queue": "Queue",
  "bar.shortcuts": "Keyboard shortcuts",
  "bar.theme": "Theme: {theme}",
  "bar.theme.auto": "as the system",
  "bar.theme.light": "light",
  "bar.theme.dark": "dark",
  "bar.more": "More",
  "bar.download": "Download",
  "bar.download.more": "Other formats",

  "welcome.title": "Drop a photo here",
  "welcome.text": "Brush over what should go, press Enter, and Reknit weaves the gap shut.",
  "welcome.text.touch": "Brush over what should go, tap Remove, and Reknit weaves the gap shut.",
  "welcome.open": "Open a photo",
  "welcome.camera": "Take a photo",
  "welcome.sample": "Try a sample",
  "welcome.paste": "You can paste one, too. JPEG, PNG, WebP, TIFF, HEIC, AVIF; 16 bits welcome.",
  "welcome.private": "Your pictures stay on this computer.",
  "welcome.continue": "Continue where you left off",
  "welcome.drop": "Let go to open it",
  "welcome.sample.name": "sample.jpg",
  "welcome.sample.hint": "Brush over the beach ball, then press Enter.",

  "welcome.sample.hint.touch": "Brush over the beach ball, then tap Remove.",

  "open.sending": "Opening {name}",
  "open.none": "That holds no picture.",
  "open.none.hint": "Drop or paste a JPEG, PNG, WebP, TIFF, HEIC or AVIF file.",
  "open.many": "Opened the first of {count} files.",
  "open.link": "That picture could not be fetched from the other page.",
  "open.link.hint": "Save it to your computer, then drop the file here.",

  "leave.title": "Open {next}?",
  "leave.text": "You have marked something on {name} and not used it yet. The mark would be lost.",
  "leave.stay": "Stay here",
  "leave.go": "Open it",

  "tools.label": "Tools",
  "tool.brush": "Brush",
  "tool.eraser": "Eraser",
  "tool.rectangle": "Rectangle",
  "tool.lasso": "Lasso",
  "tool.polygon": "Polygon",
  "tool.line": "Line",
  "tool.wand": "Magic wand",
  "tool.smart": "Smart select",
  "tool.pan": "Move the view",
  "tool.rest": "Extend needs no mask: drag the borders.",
  "tool.hint.brush": "Paint over what should go",
  "tool.hint.eraser": "Wipe the mask away",
  "tool.hint.rectangle": "Drag a rectangle",
  "tool.hint.lasso": "Draw around what should go",
  "tool.hint.polygon": "Click corners; Enter closes, Esc starts over",
  "tool.hint.line": "Drag a line; Shift keeps it straight",
  "tool.hint.wand": "Click an area of one colour",
  "tool.hint.smart": "Click, box or scribble a thing",
  "tool.hint.pan": "Drag to move; Space does it in every tool",

  "options.label": "Tool options",
  "option.size": "Size",
  "option.hardness": "Hardness",
  "option.pressure": "Pen pressure",
  "option.tolerance": "Tolerance",
  "option.contiguous": "Touching only",
  "option.subtract": "Subtract",
  "option.smart": "How to select",
  "smart.box": "Box",
  "smart.scribble": "Scribble",
  "options.mask": "Mask",

  "mask.label": "Mask",
  "mask.grow": "Grow",
  "mask.shrink": "Shrink",
  "mask.feather": "Feather",
  "mask.invert": "Invert",
  "mask.clear": "Clear",
  "mask.import": "Load…",
  "mask.export": "Save",
  "mask.crop": "Show what the engine sees",
  "mask.ring": "Show the blended ring",
  "mask.colour": "Colour",
  "mask.opacity": "Opacity",
  "mask.amount": "{px} px",
  "mask.amount.label": "Grow, shrink or feather by",
  "mask.colour.pink": "Pink",
  "mask.colour.orange": "Orange",
  "mask.colour.green": "Green",
  "mask.colour.blue": "Blue",
  "mask.colour.white": "White",

  "view.label": "View",
  "view.in": "Zoom in",
  "view.out": "Zoom out",
  "view.fit": "Fit to the window",
  "view.actual": "Actual size",

  "panel.label": "What to do",
  "verbs.label": "Action",
  "verb.remove": "Remove",
  "verb.replace": "Replace",
  "verb.repair": "Repair",
  "verb.extend": "Extend",
  "verb.remove.text": "Paint over what should go. The photo itself fills the gap.",
  "verb.remove.go": "Remove",
  "verb.remove.need": "Paint over something first",
  "verb.replace.text": "Paint over something and say what should be there.",
  "verb.replace.go": "Replace",
  "verb.replace.need": "Paint over something and describe what should be there",
  "verb.replace.none": "No model here understands words yet.",
  "verb.replace.none.hint": "Install one and this opens up: `reknit models list` names them. Remove, Repair and Extend work without.",
  "verb.repair.text": "Finds dust, scratches, folds and tears. Look over what was found, then mend it.",
  "verb.repair.find": "Find damage",
  "verb.repair.again": "Search again",
  "verb.repair.go": "Repair",
  "verb.repair.found": "{share} of the picture marked. Paint or erase to correct it.",
  "verb.repair.clean": "No damage found. A higher sensitivity looks closer.",
  "verb.repair.sensitivity": "Sensitivity",
  "verb.repair.sensitivity.low": "Sure damage only",
  "verb.repair.sensitivity.high": "Anything suspicious",
  "verb.repair.kinds": "Look for",
  "kind.dust": "Dust",
  "kind.scratch": "Scratches",
  "kind.fold": "Folds",
  "kind.tear": "Tears",
  "verb.extend.text": "Drag the picture's borders, or choose a shape.",
  "verb.extend.go": "Extend",
  "verb.extend.need": "Drag a border outwards first",
  "verb.extend.aspect": "Shape",
  "verb.extend.free": "Free",
  "verb.extend.left": "Left",
  "verb.extend.right": "Right",
  "verb.extend.top": "Top",
  "verb.extend.bottom": "Bottom",
  "verb.extend.size": "New size {width} × {height}",
  "verb.open.need": "Open a photo first",
  "prompt.label": "What should be there",
  "prompt.example": "a wooden bench in the sun",
  "negative.label": "What should not",
  "negative.example": "text, people",

  "engine.label": "Engine",
  "engine.auto": "Automatic",
  "engine.auto.text": "Chooses by the hole's shape",
  "verdict.ready": "Ready",
  "verdict.fits": "Fits",
  "verdict.offload": "Needs offload",
  "verdict.wont-fit": "Won’t fit",
  "verdict.unknown": "Untried",
  "verdict.missing": "Not installed",

  "settings.more": "More settings",
  "settings.reset": "Reset",
  "settings.sheet": "Settings",
  "settings.auto": "auto",
  "settings.help": "About {name}",
  "variations.count": "Variations",
  "seed.label": "Seed",
  "seed.lock": "Keep this seed",
  "seed.unlock": "New seed each time",
  "seed.draw": "Draw a new seed",
  "presets.label": "Preset",
  "presets.own": "Own settings",
  "presets.save": "Save settings as a preset",
  "presets.name": "Name of the preset",
  "presets.saved": "Saved “{name}”.",
  "presets.delete": "Delete this preset",
  "presets.store": "Save",

  "parameter.quality": "Quality",
  "parameter.grow": "Grow the hole",
  "parameter.feather": "Blend ring",
  "parameter.context": "Surroundings",

  "run.queued": { one: "Waiting, {count} before it", other: "Waiting, {count} before it" },
  "run.next": "Starting",
  "run.working": "Working",
  "run.cancel": "Cancel",
  "run.hurry": "Finish now",
  "run.hurry.tip": "Ends after this step, with the picture as far as it came",
  "run.cancelling": "Stopping",
  "run.left": "{time} left",
  "run.done": "Done in {time}",
  "run.cancelled": "Cancelled. The mask is still there.",
  "run.progress": "Progress",
  "run.sending": "Sending",
  "run.away": "“{verb}” finished for a picture that is no longer open.",
  "run.away.hint": "It waits in the gallery.",

  "stage.plan": "Looking at it",
  "stage.search": "Looking for damage",
  "stage.fill": "Filling",
  "stage.composite": "Blending",
  "stage.check": "Checking",
  "stage.done": "Finishing",

  "time.ms": "{n} ms",
  "time.s": "{n} s",
  "time.min": "{m} min {s} s",
  "time.now": "just now",
  "time.ago.min": "{n} min ago",
  "time.ago.h": "{n} h ago",

  "result.label": "Result",
  "result.done": "Done in {time}",
  "result.with": "by {engine}",
  "result.proof": "All else unchanged",
  "result.proof.tip": "Checked: outside the mask and its blend ring every pixel is equal, bit for bit.",
  "result.again": "Try again",
  "result.side": "Side by side",
  "result.close": "Close",
  "result.pick": "Variation {n}",
  "result.choose": "Choose one",

  "gallery.title": "Gallery",
  "gallery.empty": "Results appear here.",
  "gallery.open": "Open",
  "gallery.again": "Use again",
  "gallery.again.done": "Settings and seed taken over.",
  "gallery.again.mask": "Settings, seed and mask taken over.",
  "gallery.download": "Download",
  "gallery.delete": "Delete",
  "gallery.deleted": "Deleted.",
  "gallery.more": "Show older",
  "gallery.count": "{n} variations",
  "gallery.item": "{verb}, {when}",

  "queue.title": "Queue",
  "queue.empty": "Nothing is waiting.",
  "queue.cancel": "Cancel {verb}",
  "queue.hurry": "Finish {verb} now",
  "folder.open": "Fill a whole folder…",
  "folder.title": "Fill a whole folder",
  "folder.in": "Pictures in",
  "folder.out": "Results into",
  "folder.what": "What to fill",
  "folder.masks": "Masks",
  "folder.masks.about": "A folder with a mask of the same name for each picture, or one mask file for all. White is filled.",
  "folder.timestamp": "Date stamps",
  "folder.timestamp.about": "The date that a camera printed into the lower right corner is found and filled.",
  "folder.damage": "Damage",
  "folder.damage.about": "Dust, scratches, folds and tears are found and filled.",
  "folder.alpha": "Transparent",
  "folder.alpha.about": "What is transparent is filled.",
  "folder.again": "Try again what failed before",
  "folder.start": "Start",
  "folder.none": "This server may not work on folders. Whoever runs it can allow one: reknit serve --batch-root DIR",
  "folder.of": "Folder {name}",
  "folder.done": "{done} done",
  "folder.failed": "{done} done, {failed} failed",
  "folder.report": "Report",
  "picture.choose": "Choose a picture",
  "picture.drop": "or drop it",
  "picture.other": "Choose another picture",
  "picture.clear": "Take the picture out",
  "picture.taken": "{name} is taken as {option}.",
  "queue.retry": "Try again",
  "queue.remove": "Remove from the list",
  "queue.now": "Working now",
  "queue.waiting": "Waiting",
  "queue.before": "Finished lately",
  "state.queued": "Waiting",
  "state.running": "Running",
  "state.done": "Done",
  "state.failed": "Failed",
  "state.cancelled": "Cancelled",
  "panel.close": "Close",

  "download.source": "Like the original ({format})",
  "download.source.tip": "Format, metadata and colour profile of the original",
  "download.png": "PNG, lossless",
  "download.jpeg": "JPEG",
  "download.webp": "WebP",
  "download.tiff": "TIFF",
  "download.avif": "AVIF",
  "download.mask": "The mask (PNG)",

  "shortcuts.title": "Keyboard",
  "shortcuts.close": "Close",
  "shortcuts.tools": "Tools",
  "shortcuts.mask": "Mask",
  "shortcuts.view": "View",
  "shortcuts.work": "Work",
  "shortcuts.panels": "Panels",
  "key.smaller": "Smaller brush",
  "key.larger": "Larger brush",
  "key.softer": "Softer or harder brush",
  "key.swap": "Swap brush and eraser",
  "key.invert": "Invert the mask",
  "key.clear": "Clear the mask",
  "key.pan": "Move the view while held",
  "key.zoom": "Zoom at the pointer",
  "key.scale": "Zoom in or out",
  "key.fit": "Fit to the window",
  "key.actual": "Actual size",
  "key.compare": "See the original while held",
  "key.split": "Before and after",
  "key.go": "Fill",
  "key.escape": "Cancel the tool, the dialog, or the work",
  "key.undo": "Undo",
  "key.redo": "Redo",
  "key.open": "Open a photo",
  "key.paste": "Paste a photo",
  "key.download": "Download",
  "key.gallery": "Gallery",
  "key.queue": "Queue",
  "key.help": "This sheet",
  "key.verbs": "Remove, Replace, Repair, Extend",
  "key.wheel": "Wheel",
  "key.space": "Space",
  "key.fingers": "On a touch screen one finger paints, two move and zoom.",

  "online.lost": "Reconnecting. Your work is safe.",
  "online.back": "Connected again.",
  "token.title": "This Reknit is locked",
  "token.text": "Enter the token that `reknit serve` printed when it started.",
  "token.label": "Token",
  "token.go": "Unlock",
  "token.wrong": "That token is not right.",

  "toast.close": "Dismiss",
  "toast.region": "Messages",
  "error.network": "The server does not answer.",
  "error.network.hint": "Check that `reknit serve` is still running.",
  "error.unknown": "Something went wrong.",
  "error.gone": "The picture is no longer on the server.",
  "error.gone.hint": "Open the file again.",
  "error.clipboard": "The clipboard holds no picture.",
  "error.worker": "The job failed.",
  "file.size": "{width} × {height}",
  "file.bits": "{bits} bit",
};

const rules = new Intl.PluralRules("en");

/**
 * The words for a key, with its placeholders filled in. `count` chooses the plural form.
 * @param {string} key
 * @param {Values} [values]
 * @returns {string}
 */
export function say(key, values = {}) {
  const found = english[key];
  if (found === undefined) return key;
  const text =
    typeof found === "string"
      ? found
      : rules.select(Number(values.count)) === "one"
        ? found.one
        : found.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The key's words for a hand on glass, where keys are of no use. @param {string} key */
export function sayTouch(key) {
  return say(matchMedia("(hover: none) and (pointer: coarse)").matches ? `${key}.touch` : key);
}

/**
 * Whether there are words for a key.
 * @param {string} key
 */
export function knows(key) {
  return key in english;
}

/**
 * Fill the elements below `root` that name their words: data-t (text), data-t-label (aria-label and tooltip),
 * data-t-aria (aria-label alone), data-t-placeholder.
 * @param {ParentNode} root
 */
export function translate(root) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-t]"))) {
    element.textContent = say(element.dataset.t ?? "");
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-t-label]"))) {
    const words = say(element.dataset.tLabel ?? "");
    element.setAttribute("aria-label", words);
    element.dataset.tip = words;
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-t-aria]"))) {
    element.setAttribute("aria-label", say(element.dataset.tAria ?? ""));
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]")) {
    element.setAttribute("placeholder", say(/** @type {HTMLElement} */ (element).dataset.tPlaceholder ?? ""));
  }
}

/**
 * A length of time in a few characters.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 0.95) return say("time.ms", { n: Math.max(10, Math.round(seconds * 100) * 10) });
  if (seconds < 10) return say("time.s", { n: seconds.toFixed(1) });
  if (seconds < 60) return say("time.s", { n: Math.round(seconds) });
  return say("time.min", { m: Math.floor(seconds / 60), s: Math.round(seconds % 60) });
}

/**
 * How long ago a moment was.
 * @param {number} unixSeconds
 */
export function ago(unixSeconds) {
  const seconds = Date.now() / 1000 - unixSeconds;
  if (seconds < 60) return say("time.now");
  if (seconds < 3600) return say("time.ago.min", { n: Math.floor(seconds / 60) });
  if (seconds < 86400) return say("time.ago.h", { n: Math.floor(seconds / 3600) });
  return new Date(unixSeconds * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}
