/** What made a picture, as rows of a name and a text. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Translate } from "../types.d.ts" */

/** The names of the rows, in their order. */
export const GENERATION_ROWS = /** @type {const} */ ([
  "positive",
  "negative",
  "models",
  "loras",
  "seed",
  "steps",
  "sampler",
  "cfg",
  "generatedSize",
  "tool",
]);

/** @typedef {typeof GENERATION_ROWS[number]} GenerationRow */

/**
 * Return what is known of the making of an asset, as texts by the names of rows.
 *
 * @param {Asset} asset with its details
 * @returns {Partial<Record<GenerationRow, string>>}
 */
export function generationTexts({ generation = {} }) {
  const { positive, negative, models, loras, seed, steps, sampler, scheduler, cfg, width, height, tool } = generation;
  const texts = {
    positive,
    negative,
    models: models?.join(", "),
    loras: loras?.map(({ name, weight }) => weight === undefined ? name : `${name} (${weight})`).join(", "),
    seed,
    steps: steps?.toString(),
    sampler: [sampler, scheduler].filter(Boolean).join(", "),
    cfg: cfg?.toString(),
    generatedSize: width && height ? `${width} × ${height}` : undefined,
    tool,
  };
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text));
}

/**
 * Return the label of a row.
 *
 * @param {Translate} t
 * @param {GenerationRow} row
 */
export function generationLabel(t, row) {
  return t(`generation.${row}`);
}
