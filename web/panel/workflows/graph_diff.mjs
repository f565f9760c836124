/** The difference between two versions of a workflow. Pure. Reads both forms of graphs, and subgraphs. */

/** @import { Graph, PageGraph, PageLink, PageNode, Prompt, Subgraph } from "../api.d.ts" */

/** @typedef {{ id: string, name: string }} NodeName */

/**
 * A property that changed: an input by its name, or "type", "title" or "mode". Undefined where there is none.
 * @typedef {{ property: string, before: unknown, after: unknown }} PropertyChange
 */

/** @typedef {NodeName & { values: Record<string, unknown> }} NodeValues */

/**
 * Compare two graphs.
 *
 * @param {Graph} before
 * @param {Graph} after
 * @returns {{ added: NodeName[], removed: NodeName[], changed: (NodeName & { changes: PropertyChange[] })[] }}
 */
export function diffGraphs(before, after) {
  const oldNodes = nodesById(before);
  const newNodes = nodesById(after);
  const added = [...newNodes.values()].filter(({ id }) => !oldNodes.has(id));
  const removed = [...oldNodes.values()].filter(({ id }) => !newNodes.has(id));
  const changed = [];
  for (const { id, name, values } of newNodes.values()) {
    const oldNode = oldNodes.get(id);
    const changes = oldNode === undefined ? [] : diffValues(oldNode.values, values);
    if (changes.length > 0) changed.push({ id, name, changes });
  }
  return { added, removed, changed };
}

/**
 * Return the values of all nodes by id. Positions, sizes and colours are left out: they do not change any output.
 *
 * @param {Graph} graph
 */
function nodesById(graph) {
  /** @type {Map<string, NodeValues>} */
  const nodes = new Map();
  if (!isPageGraph(graph)) {
    addPromptNodes(nodes, graph);
    return nodes;
  }
  addPageNodes(nodes, graph, "");
  for (const subgraph of graph.definitions?.subgraphs ?? []) {
    addPageNodes(nodes, subgraph, `${subgraph.name ?? subgraph.id}:`); // ids repeat from subgraph to subgraph
  }
  return nodes;
}

/**
 * Return whether a graph has the form that the page saves, rather than the one that is executed.
 *
 * @param {Graph} graph
 * @returns {graph is PageGraph}
 */
export function isPageGraph(graph) {
  return Array.isArray(graph.nodes);
}

/**
 * @param {Map<string, NodeValues>} nodes
 * @param {Prompt} prompt
 */
function addPromptNodes(nodes, prompt) {
  for (const [id, node] of Object.entries(prompt)) {
    if (typeof node?.class_type !== "string") continue; // such as the "extra_data" that some programs save beside them
    const values = { type: node.class_type, ...node.inputs };
    nodes.set(id, { id, name: node._meta?.title ?? node.class_type, values });
  }
}

/**
 * @param {Map<string, NodeValues>} nodes
 * @param {Subgraph} graph
 * @param {string} prefix of the ids
 */
function addPageNodes(nodes, graph, prefix) {
  const origins = linkOrigins(graph.links ?? []);
  for (const node of graph.nodes ?? []) {
    const id = `${prefix}${node.id}`;
    nodes.set(id, { id, name: node.title ?? node.type, values: pageValues(node, origins) });
  }
}

/**
 * Return where each link comes from, by link id: node and slot instead of the id, which changes when a link is redrawn.
 *
 * @param {PageLink[]} links
 */
function linkOrigins(links) {
  /** @type {Map<number, string>} */
  const origins = new Map();
  for (const link of links) {
    const [id, node, slot] = Array.isArray(link) ? link : [link.id, link.origin_id, link.origin_slot];
    origins.set(id, `← ${node}:${slot}`);
  }
  return origins;
}

/**
 * @param {PageNode} node
 * @param {Map<number, string>} origins
 */
function pageValues(node, origins) {
  /** @type {Record<string, unknown>} */
  const values = { type: node.type, title: node.title ?? node.type, mode: node.mode ?? 0 };
  for (const { name, link } of node.inputs ?? []) {
    if (link !== null && link !== undefined) values[name] = origins.get(link) ?? "←";
  }
  return { ...values, ...widgetValues(node) };
}

/**
 * Return the values of a node's widgets. Graphs list them without names. Newer pages also write an input for each
 * widget, which names them if all are there; otherwise the position is the name.
 *
 * @param {PageNode} node
 */
function widgetValues({ inputs = [], widgets_values: values = [] }) {
  if (!Array.isArray(values)) return values; // some nodes save names themselves
  const names = inputs.flatMap(({ widget }) => (widget ? [widget.name] : []));
  const isNamed = names.length === values.length;
  return Object.fromEntries(values.map((value, index) => [`widget ${isNamed ? names[index] : index + 1}`, value]));
}

/**
 * @param {Record<string, unknown>} before
 * @param {Record<string, unknown>} after
 */
function diffValues(before, after) {
  /** @type {PropertyChange[]} */
  const changes = [];
  for (const property of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (JSON.stringify(before[property]) === JSON.stringify(after[property])) continue;
    changes.push({ property, before: before[property], after: after[property] });
  }
  return changes;
}
