/** The codewords of a QR code: the text, its padding, and Reed-Solomon error correction of level M. */

// By version, from 1 on: codewords for error correction in a block, and the number of blocks (table 9, level M).
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10];
const BYTE_MODE = 0b0100;
const PADDING = [0xec, 0x11];

/**
 * Return the smallest version whose codes hold a text.
 *
 * @param {number} length in bytes
 * @throws {RangeError}
 */
export function smallestVersion(length) {
  for (let version = 1; version <= CORRECTION.length; version++) {
    if (4 + lengthBits(version) + 8 * length <= 8 * dataLength(version)) return version;
  }
  throw new RangeError(`${length} bytes do not fit into a QR code of version ${CORRECTION.length}.`);
}

/**
 * Return the codewords of a text, in the order in which they are placed.
 *
 * @param {Uint8Array} bytes
 * @param {number} version
 */
export function codewordsOf(bytes, version) {
  return interleaved(dataCodewords(bytes, version), version);
}

/**
 * Return the number of codewords for data and error correction.
 *
 * @param {number} version
 */
function totalCodewords(version) {
  const alignments = version === 1 ? 0 : Math.floor(version / 7) + 2;
  let modules = (16 * version + 128) * version + 64;
  if (alignments > 0) modules -= (25 * alignments - 10) * alignments - 55;
  if (version >= 7) modules -= 36; // the version itself
  return Math.floor(modules / 8);
}

/** @param {number} version */
function dataLength(version) {
  return totalCodewords(version) - CORRECTION[version - 1] * BLOCKS[version - 1];
}

/**
 * Return the number of bits that give the length of the data (table 3).
 *
 * @param {number} version
 */
function lengthBits(version) {
  return version < 10 ? 8 : 16;
}

/**
 * Return the data with its header and its padding.
 *
 * @param {Uint8Array} bytes
 * @param {number} version
 */
function dataCodewords(bytes, version) {
  /** @type {number[]} */
  const bits = [];
  const append = (/** @type {number} */ value, /** @type {number} */ count) => {
    for (let bit = count - 1; bit >= 0; bit--) bits.push((value >> bit) & 1);
  };
  append(BYTE_MODE, 4);
  append(bytes.length, lengthBits(version));
  for (const byte of bytes) append(byte, 8);
  const capacity = dataLength(version);
  append(0, Math.min(4, 8 * capacity - bits.length)); // the terminator
  append(0, (8 - bits.length % 8) % 8);
  const data = [];
  for (let at = 0; at < bits.length; at += 8) {
    data.push(bits.slice(at, at + 8).reduce((byte, bit) => 2 * byte + bit, 0));
  }
  for (let at = 0; data.length < capacity; at++) data.push(PADDING[at % 2]);
  return data;
}

/**
 * Divide the data into blocks, and return the blocks and their error correction in turns.
 *
 * @param {number[]} data
 * @param {number} version
 */
function interleaved(data, version) {
  const [count, correction] = [BLOCKS[version - 1], CORRECTION[version - 1]];
  const shorter = Math.floor(data.length / count);
  const shortBlocks = count - data.length % count; // the others have one codeword more
  const blocks = [];
  let at = 0;
  for (let block = 0; block < count; block++) {
    const length = shorter + (block < shortBlocks ? 0 : 1);
    blocks.push(data.slice(at, at + length));
    at += length;
  }
  const divisor = generator(correction);
  const corrections = blocks.map((block) => remainder(block, divisor));
  return [...inTurns(blocks, shorter + 1), ...inTurns(corrections, correction)];
}

/**
 * @param {number[][]} blocks
 * @param {number} longest
 */
function inTurns(blocks, longest) {
  const all = [];
  for (let at = 0; at < longest; at++) {
    for (const block of blocks) if (at < block.length) all.push(block[at]);
  }
  return all;
}

/**
 * Multiply in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1.
 *
 * @param {number} left
 * @param {number} right
 */
function multiply(left, right) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((right >> bit) & 1) * left;
  }
  return product;
}

/**
 * Return the coefficients of the generator polynomial of Reed-Solomon codes, without that of the highest power.
 *
 * @param {number} degree
 */
function generator(degree) {
  const coefficients = [...new Array(degree - 1).fill(0), 1];
  let root = 1;
  for (let each = 0; each < degree; each++) {
    for (let at = 0; at < degree; at++) {
      coefficients[at] = multiply(coefficients[at], root) ^ (coefficients[at + 1] ?? 0);
    }
    root = multiply(root, 2);
  }
  return coefficients;
}

/**
 * @param {number[]} data
 * @param {number[]} divisor
 */
function remainder(data, divisor) {
  const left = new Array(divisor.length).fill(0);
  for (const byte of data) {
    const factor = byte ^ left.shift();
    left.push(0);
    for (const [at, coefficient] of divisor.entries()) left[at] ^= multiply(coefficient, factor);
  }
  return left;
}
