/** The 3D formats that the viewer reads, by the end of the name. */

/** @import { Asset } from "../api.d.ts" */

const FORMATS = /\.(glb|vrm|gltf|obj|stl|ply)$/i;

/**
 * Return the format of a 3D file, such as "glb", or null for other files.
 *
 * @param {Asset} asset
 */
export function solidFormat({ name, file_path }) {
  return (FORMATS.exec(file_path ?? "") ?? FORMATS.exec(name))?.[1].toLowerCase() ?? null;
}
