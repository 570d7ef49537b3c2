// @ts-check
import { translate } from "./strings.js";
import { drawIcons } from "./icons.js";

translate(document);
drawIcons(document);
