/** Where the pictures of a comparison go, as pure arithmetic. */

/**
 * Return the number of columns with which pictures become as large as possible.
 *
 * @param {number} count of the pictures
 * @param {{ width: number, height: number }} area for all of them, in px
 * @param {number} aspect width divided by height of a typical picture
 * @param {number} caption the height of the text below each picture, in px
 */
export function bestColumns(count, area, aspect, caption) {
  let best = 1;
  let bestWidth = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const width = Math.min(area.width / columns, (area.height / rows - caption) * aspect);
    if (width > bestWidth) [best, bestWidth] = [columns, width];
  }
  return best;
}

/**
 * Return the aspect ratio in the middle of those of some pictures. Wide and tall ones do not distort it as in a mean.
 *
 * @param {{ width: number, height: number }[]} sizes
 */
export function typicalAspect(sizes) {
  const aspects = sizes.map(({ width, height }) => width / height).sort((one, other) => one - other);
  return aspects[Math.floor(aspects.length / 2)];
}
