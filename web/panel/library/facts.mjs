/** The facts that the server reads from files, in words. */

/** @import { PanelContext } from "../types.d.ts" */

import * as format from "../shared/format.mjs";

/** The facts that have a label of their own in the texts. Readers of other formats may add more. */
const LABELLED = new Set([
  ...["title", "artist", "format", "kind", "duration", "fps", "frame_count", "codec", "audio_codec", "sample_rate"],
  ...["channels", "has_audio", "vertices", "faces", "splats", "meshes", "materials", "textures", "animations"],
  ...["extensions", "tensor_count", "parameter_count", "dtypes", "quantization", "version", "has_picture", "error"],
  ...["omitted", "left_out"],
]);
const KINDS = new Set(["image", "video", "audio", "model", "file"]);

/**
 * Return the label of a fact, in the capitals of the other labels.
 *
 * @param {PanelContext} context
 * @param {string} name
 */
export function factLabel({ t }, name) {
  if (LABELLED.has(name)) return t(`fact.${name}`);
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Return the value of a fact as a text.
 *
 * @param {PanelContext} context
 * @param {string} name
 * @param {unknown} value
 */
export function factValue({ t, language }, name, value) {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return t(value ? "fact.yes" : "fact.no");
  if (name === "kind" && KINDS.has(String(value))) return t(`mediaKind.${value}`);
  if (typeof value !== "number") return value;
  if (name === "duration") return format.duration(value * 1000, language);
  if (name === "sample_rate") return `${format.number(value / 1000, language)} kHz`;
  return format.number(value, language);
}
