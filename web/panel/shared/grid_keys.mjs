/** The keyboard in a grid: where a key leads to. */

/** The number of the cell that a key leads to from `active`, or null for a key that moves nothing. */
export function destination(key, { active, columns, count, rowsInView }) {
  const moves = {
    ArrowLeft: active - 1,
    ArrowRight: active + 1,
    ArrowUp: active - columns,
    ArrowDown: active + columns,
    PageUp: active - columns * rowsInView,
    PageDown: active + columns * rowsInView,
    Home: 0,
    End: count - 1,
  };
  if (!(key in moves)) return null;
  return Math.min(Math.max(moves[key], 0), Math.max(count - 1, 0));
}
