/** The difference between two versions of a workflow. Pure. Reads both forms of graphs, and subgraphs. */

/** @import { Graph, PageGraph, PageLink, PageNode, Prompt, Subgraph } from "../api.d.ts" */

/** @import { NodeDefinition } from "../api.d.ts" */

/** Values of the widget that the page adds behind a seed. */
const SEED_CONTROLS = /** @type {Set<unknown>} */ (new Set(["fixed", "increment", "decrement", "randomize"]));
/** Types of inputs that are widgets, besides lists of choices. */
const WIDGETS = /** @type {Set<unknown>} */ (new Set(["INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"]));

/** @typedef {{ id: string, name: string }} NodeName */

/**
 * A property that changed: an input by its name, or "type", "title" or "mode". Undefined where there is none.
 * @typedef {{ property: string, before: unknown, after: unknown }} PropertyChange
 */

/** @typedef {NodeName & { values: Record<string, unknown> }} NodeValues */

/** The names of the widgets of nodes, in their order, by type of node. @typedef {Map<string, string[]>} WidgetNames */

/**
 * Compare two graphs.
 *
 * @param {Graph} before
 * @param {Graph} after
 * @param {WidgetNames} [widgetNames] for graphs that do not name them themselves
 * @returns {{ added: NodeName[], removed: NodeName[], changed: (NodeName & { changes: PropertyChange[] })[] }}
 */
export function diffGraphs(before, after, widgetNames = new Map()) {
  const oldNodes = nodesById(before, widgetNames);
  const newNodes = nodesById(after, widgetNames);
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
 * @param {WidgetNames} widgetNames
 */
function nodesById(graph, widgetNames) {
  /** @type {Map<string, NodeValues>} */
  const nodes = new Map();
  if (!isPageGraph(graph)) {
    addPromptNodes(nodes, graph);
    return nodes;
  }
  addPageNodes(nodes, graph, "", widgetNames);
  for (const subgraph of graph.definitions?.subgraphs ?? []) {
    addPageNodes(nodes, subgraph, `${subgraph.name ?? subgraph.id}:`, widgetNames); // ids repeat from subgraph to subgraph
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
 * @param {WidgetNames} widgetNames
 */
function addPageNodes(nodes, graph, prefix, widgetNames) {
  const origins = linkOrigins(graph.links ?? []);
  for (const node of graph.nodes ?? []) {
    const id = `${prefix}${node.id}`;
    nodes.set(id, { id, name: node.title ?? node.type, values: pageValues(node, origins, widgetNames) });
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
 * @param {WidgetNames} widgetNames
 */
function pageValues(node, origins, widgetNames) {
  /** @type {Record<string, unknown>} */
  const values = { type: node.type, title: node.title ?? node.type, mode: node.mode ?? 0 };
  for (const { name, link } of node.inputs ?? []) {
    if (link !== null && link !== undefined) values[name] = origins.get(link) ?? "←";
  }
  return { ...values, ...widgetValues(node, widgetNames) };
}

/**
 * Return the values of a node's widgets. Graphs list them without names: these come from the inputs that newer pages write
 * for each widget, or from the definition of the node. Without either, the position is the name.
 *
 * @param {PageNode} node
 * @param {WidgetNames} widgetNames
 */
function widgetValues({ type, inputs = [], widgets_values: values = [] }, widgetNames) {
  if (!Array.isArray(values)) return values; // some nodes save names themselves
  const own = withSeedControl(inputs.flatMap(({ widget }) => (widget ? [widget.name] : [])), values);
  const defined = withSeedControl(widgetNames.get(type) ?? [], values);
  const names = own.length === values.length ? own : defined.length === values.length ? defined : [];
  return Object.fromEntries(values.map((value, index) => [`widget ${names[index] ?? index + 1}`, value]));
}

/**
 * Return names with those of the widgets that the page adds behind seeds, if the values have one there.
 *
 * @param {string[]} names
 * @param {unknown[]} values
 */
function withSeedControl(names, values) {
  /** @type {string[]} */
  const all = [];
  for (const name of names) {
    all.push(name);
    if (/^(noise_)?seed$/.test(name) && SEED_CONTROLS.has(values[all.length])) all.push("control_after_generate");
  }
  return all;
}

/**
 * Return the types of nodes in a graph whose widgets need the names of their definitions.
 *
 * @param {Graph} graph
 */
export function typesWithUnnamedWidgets(graph) {
  if (!isPageGraph(graph)) return [];
  const nodes = [graph, ...(graph.definitions?.subgraphs ?? [])].flatMap((each) => each.nodes ?? []);
  const unnamed = nodes.filter((node) =>
    Object.keys(widgetValues(node, new Map())).some((name) => /^widget \d+$/.test(name))
  );
  return [...new Set(unnamed.map((node) => node.type))];
}

/**
 * Return the names of a node's widgets in their order, from its definition by the server: of the inputs that have a value.
 *
 * @param {NodeDefinition | undefined} definition
 */
export function widgetsOf(definition) {
  const { required = {}, optional = {} } = definition?.input ?? {};
  return Object.entries({ ...required, ...optional })
    .filter(([, [kind, options]]) => (Array.isArray(kind) || WIDGETS.has(kind)) && !options?.forceInput)
    .flatMap(([name, [, options]]) => (options?.image_upload ? [name, "upload"] : [name]));
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
