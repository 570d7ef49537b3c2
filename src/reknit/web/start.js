// @ts-check
/**
 * Lets the first paint pass, then fetches the page: all its modules at once, not one layer of imports after another.
 * A module that is missing below comes all the same, only later.
 */

const MODULES = [
  "actions.js", "api.js", "compare.js", "document.js", "dom.js", "editor.js", "engines.js", "extend.js",
  "files.js", "history.js", "icons.js", "input.js", "jobs.js", "keys.js", "marks.js", "mask.js", "menu.js",
  "notices.js", "overlay.js", "parameters.js", "raster.js", "running.js", "session.js",
  "shortcuts.js", "stage.js", "strings.js", "studio.js", "tiles.js", "toolbar.js", "viewport.js", "welcome.js",
  "tools/brush.js", "tools/drag.js", "tools/handles.js", "tools/outline.js", "tools/select.js",
];

function begin() {
  for (const name of MODULES) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = new URL(name, import.meta.url).href;
    document.head.append(link);
  }
  import("./page.js");
}

if (document.hidden) begin(); // a tab in the background has no frames
else requestAnimationFrame(() => setTimeout(begin));
