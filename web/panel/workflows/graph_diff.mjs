/** What changed between two versions of a workflow. Pure; takes both forms of graphs, and nodes inside subgraphs. */

/**
 * @returns `{ added, removed, changed }`: nodes as `{ id, name }`, changed ones with
 * `changes: [{ property, before, after }]`, where `property` is an input's name, or "title", "type", "mode".
 */
export function diffGraphs(before, after) {
  const [old, current] = [nodesOf(before), nodesOf(after)];
  const added = [...current.values()].filter((node) => !old.has(node.id)).map(idAndName);
  const removed = [...old.values()].filter((node) => !current.has(node.id)).map(idAndName);
  const changed = [];
  for (const node of current.values()) {
    const former = old.get(node.id);
    if (former === undefined) continue;
    const changes = diffValues(former.values, node.values);
    if (changes.length > 0) changed.push({ ...idAndName(node), changes });
  }
  return { added, removed, changed };
}

function idAndName({ id, name }) {
  return { id, name };
}

/** By id: what people see and set of each node. Places and colours change nothing that is made. */
function nodesOf(graph) {
  if (!Array.isArray(graph?.nodes)) return promptNodes(graph ?? {});
  const nodes = new Map();
  addPageNodes(nodes, graph, "");
  for (const subgraph of graph.definitions?.subgraphs ?? []) {
    addPageNodes(nodes, subgraph, `${subgraph.name ?? subgraph.id}:`);
  }
  return nodes;
}

function promptNodes(prompt) {
  const nodes = new Map();
  for (const [id, node] of Object.entries(prompt)) {
    if (typeof node?.class_type !== "string") continue;
    nodes.set(id, {
      id,
      name: node._meta?.title ?? node.class_type,
      values: { type: node.class_type, ...node.inputs },
    });
  }
  return nodes;
}

function addPageNodes(nodes, graph, prefix) {
  const origins = linkOrigins(graph.links ?? []);
  for (const node of graph.nodes ?? []) {
    const id = `${prefix}${node.id}`;
    nodes.set(id, { id, name: node.title ?? node.type, values: pageValues(node, origins) });
  }
}

/** Where each link comes from, by its id: `node:slot`. Links are arrays, or objects in subgraphs. */
function linkOrigins(links) {
  const rows = links.map((link) => (Array.isArray(link) ? link : [link.id, link.origin_id, link.origin_slot]));
  return new Map(rows.map(([id, origin, slot]) => [id, `← ${origin}:${slot}`]));
}

function pageValues(node, origins) {
  const values = { type: node.type, title: node.title ?? node.type, mode: node.mode ?? 0 };
  for (const input of node.inputs ?? []) {
    if (input.link !== null && input.link !== undefined) values[input.name] = origins.get(input.link) ?? "←";
  }
  return { ...values, ...widgetValues(node) };
}

/** Widgets are known by their places; their names are in the inputs of newer pages, if all have one. */
function widgetValues(node) {
  const values = node.widgets_values ?? [];
  if (!Array.isArray(values)) return values;
  const names = (node.inputs ?? []).filter((input) => input.widget).map((input) => input.widget.name);
  const nameAt = (index) => (names.length === values.length ? names[index] : `${index + 1}`);
  return Object.fromEntries(values.map((value, index) => [`widget ${nameAt(index)}`, value]));
}

function diffValues(before, after) {
  const changes = [];
  for (const property of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (JSON.stringify(before[property]) === JSON.stringify(after[property])) continue;
    changes.push({ property, before: before[property], after: after[property] });
  }
  return changes;
}
