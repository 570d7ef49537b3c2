// @ts-check
/** The hand: dragging moves the picture, which the input does by itself. */

export class Pan {
  down() {}
  move() {}
  up() {}
  cancel() {}
}
