/**
 * QR codes (ISO/IEC 18004) of texts of up to 412 bytes: byte mode, error correction M, versions 1 to 15.
 *
 * A matrix is an array of rows of booleans; true is dark. It has no quiet zone.
 */

import { codewordsOf, smallestVersion } from "./qr_codewords.mjs";

/** Whether a mask inverts the module of a row and a column (table 10). */
const MASKS = Object.freeze([
  (/** @type {number} */ y, /** @type {number} */ x) => (y + x) % 2 === 0,
  (/** @type {number} */ y) => y % 2 === 0,
  (/** @type {number} */ _, /** @type {number} */ x) => x % 3 === 0,
  (/** @type {number} */ y, /** @type {number} */ x) => (y + x) % 3 === 0,
  (/** @type {number} */ y, /** @type {number} */ x) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (/** @type {number} */ y, /** @type {number} */ x) => (y * x) % 2 + (y * x) % 3 === 0,
  (/** @type {number} */ y, /** @type {number} */ x) => ((y * x) % 2 + (y * x) % 3) % 2 === 0,
  (/** @type {number} */ y, /** @type {number} */ x) => ((y + x) % 2 + (y * x) % 3) % 2 === 0,
]);

/**
 * Return the matrix of a text.
 *
 * @param {string} text
 * @returns {boolean[][]}
 * @throws {RangeError} for more than 412 bytes of UTF-8
 */
export function qrMatrix(text) {
  const bytes = new TextEncoder().encode(text);
  const version = smallestVersion(bytes.length);
  const layout = new Layout(version);
  layout.placeData(codewordsOf(bytes, version));
  const candidates = MASKS.map((_, mask) => layout.masked(mask));
  const penalties = candidates.map(penalty);
  return candidates[penalties.indexOf(Math.min(...penalties))];
}

/**
 * Append the remainder of a division to bits, for the format and the version (annexes C and D).
 *
 * @param {number} bits
 * @param {number} divisor
 * @param {number} degree
 */
function withRemainder(bits, divisor, degree) {
  let left = bits;
  for (let each = 0; each < degree; each++) left = (left << 1) ^ ((left >> (degree - 1)) * divisor);
  return (bits << degree) | left;
}

/** The modules of a version: the patterns that all its codes have, and the data. */
class Layout {
  /** @param {number} version */
  constructor(version) {
    this.version = version;
    this.size = 4 * version + 17;
    this.modules = this.#blank();
    this.reserved = this.#blank();
    this.#drawPatterns();
  }

  #blank() {
    return Array.from({ length: this.size }, () => new Array(this.size).fill(false));
  }

  /**
   * @param {number} y
   * @param {number} x
   * @param {boolean} isDark
   */
  #set(y, x, isDark) {
    this.modules[y][x] = isDark;
    this.reserved[y][x] = true;
  }

  #drawPatterns() {
    const last = this.size - 1;
    for (let at = 0; at <= last; at++) {
      this.#set(6, at, at % 2 === 0);
      this.#set(at, 6, at % 2 === 0);
    }
    for (const [y, x] of [[3, 3], [3, last - 3], [last - 3, 3]]) this.#drawFinder(y, x);
    const places = this.#alignmentPlaces();
    for (const y of places) {
      for (const x of places) {
        const isFinder = (y === 6 && (x === 6 || x === last - 6)) || (y === last - 6 && x === 6);
        if (!isFinder) this.#drawAlignment(y, x);
      }
    }
    if (this.version >= 7) this.#drawVersion();
    this.#drawFormat(0); // reserves its place
  }

  /** Draw a finder pattern with the light modules around it, as far as they are in the matrix. */
  #drawFinder(/** @type {number} */ y, /** @type {number} */ x) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const distance = Math.max(Math.abs(dy), Math.abs(dx));
        if (this.modules[y + dy]?.[x + dx] !== undefined) this.#set(y + dy, x + dx, distance !== 2 && distance !== 4);
      }
    }
  }

  #alignmentPlaces() {
    if (this.version === 1) return [];
    const count = Math.floor(this.version / 7) + 2;
    const step = 2 * Math.ceil((this.size - 13) / (2 * count - 2));
    return [6, ...Array.from({ length: count - 1 }, (_, at) => this.size - 7 - at * step)];
  }

  #drawAlignment(/** @type {number} */ y, /** @type {number} */ x) {
    for (let dy = -2; dy <= 2; dy++) {
      for (let dx = -2; dx <= 2; dx++) this.#set(y + dy, x + dx, Math.max(Math.abs(dy), Math.abs(dx)) !== 1);
    }
  }

  #drawVersion() {
    const bits = withRemainder(this.version, 0x1f25, 12);
    for (let bit = 0; bit < 18; bit++) {
      const [far, near] = [this.size - 11 + bit % 3, Math.floor(bit / 3)];
      this.#set(near, far, ((bits >> bit) & 1) === 1);
      this.#set(far, near, ((bits >> bit) & 1) === 1);
    }
  }

  /** Draw the level of error correction, whose bits are 00 for M, and the mask, in both places. */
  #drawFormat(/** @type {number} */ mask) {
    const bits = withRemainder(mask, 0x537, 10) ^ 0x5412;
    for (let bit = 0; bit < 15; bit++) {
      const isDark = ((bits >> bit) & 1) === 1;
      this.#set(bit < 6 ? bit : bit < 8 ? bit + 1 : this.size - 15 + bit, 8, isDark);
      this.#set(8, bit < 8 ? this.size - 1 - bit : bit === 8 ? 7 : 14 - bit, isDark);
    }
    this.#set(this.size - 8, 8, true);
  }

  /**
   * Place codewords from the lower right corner on, in pairs of columns, upwards and downwards in turns.
   *
   * @param {number[]} codewords
   */
  placeData(codewords) {
    let bit = 0;
    let isUpward = true;
    for (let right = this.size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5; // the column of the timing pattern
      for (let step = 0; step < this.size; step++) {
        const y = isUpward ? this.size - 1 - step : step;
        for (const x of [right, right - 1]) {
          if (this.reserved[y][x]) continue;
          this.modules[y][x] = (((codewords[bit >> 3] ?? 0) >> (7 - bit % 8)) & 1) === 1;
          bit += 1;
        }
      }
      isUpward = !isUpward;
    }
  }

  /**
   * Return the matrix under a mask.
   *
   * @param {number} mask
   */
  masked(mask) {
    this.#drawFormat(mask);
    const inverts = MASKS[mask];
    return this.modules.map((row, y) => row.map((isDark, x) => isDark !== (!this.reserved[y][x] && inverts(y, x))));
  }
}

/**
 * Return how hard a matrix is to read (7.8.3): runs and blocks of one colour, patterns like those of the corners, and
 * an uneven share of dark modules.
 *
 * @param {boolean[][]} matrix
 */
function penalty(matrix) {
  const rows = matrix.map((row) => row.map(Number).join(""));
  const columns = matrix.map((_, x) => matrix.map((row) => Number(row[x])).join(""));
  let points = 0;
  for (const line of [...rows, ...columns]) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) points += run.length - 2;
    for (const pattern of ["10111010000", "00001011101"]) {
      for (let at = line.indexOf(pattern); at >= 0; at = line.indexOf(pattern, at + 1)) points += 40;
    }
  }
  for (let y = 1; y < matrix.length; y++) {
    for (let x = 1; x < matrix.length; x++) {
      const square = [matrix[y - 1][x - 1], matrix[y - 1][x], matrix[y][x - 1], matrix[y][x]];
      if (square.every((isDark) => isDark === square[0])) points += 3;
    }
  }
  const dark = rows.join("").replaceAll("0", "").length / matrix.length ** 2;
  return points + 10 * Math.floor(Math.abs(dark * 100 - 50) / 5);
}
