/**
 * Replace the workflow that ComfyUI's page opens by default, which needs a model and nodes that the standalone host
 * lacks. Loaded by pages of the standalone host only; pages wait for it before they open a workflow.
 */

const TEMPLATE = "../../../templates/plain_picture.json";

/** The page's own object, shared with its shim `scripts/defaultGraph.js`, whose import logs a warning. */
const graph = /** @type {any} */ (globalThis).comfyAPI?.defaultGraph?.defaultGraph;

async function replaceDefaultWorkflow() {
  const response = await fetch(new URL(TEMPLATE, import.meta.url));
  if (!response.ok) throw new Error(`status ${response.status}`);
  const template = await response.json();
  for (const key of Object.keys(graph)) delete graph[key];
  Object.assign(graph, template);
}

if (graph) {
  // At the top level, as pages wait for modules.
  await replaceDefaultWorkflow().catch((error) => console.error("comfy-assets:", error));
}
