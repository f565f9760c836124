/** What changed between two versions of a workflow. Pure; takes both forms of graphs, and nodes inside subgraphs. */

/**
 * @returns `{ added, removed, changed }`: nodes as `{ id, name }`, changed ones with
 * `changes: [{ what, before, after }]`, where `what` is an input's name, or "title", "type", "mode".
 */
export function difference(before, after) {
  const [old, current] = [nodesOf(before), nodesOf(after)];
  const added = [...current.values()].filter((node) => !old.has(node.id)).map(named);
  const removed = [...old.values()].filter((node) => !current.has(node.id)).map(named);
  const changed = [];
  for (const node of current.values()) {
    const former = old.get(node.id);
    if (former === undefined) continue;
    const changes = differences(former.values, node.values);
    if (changes.length > 0) changed.push({ ...named(node), changes });
  }
  return { added, removed, changed };
}

function named({ id, name }) {
  return { id, name };
}

/** By id: what people see and set of each node. Places and colours change nothing that is made. */
function nodesOf(graph) {
  if (!Array.isArray(graph?.nodes)) return promptNodes(graph ?? {});
  const nodes = new Map();
  collect(nodes, graph, "");
  for (const subgraph of graph.definitions?.subgraphs ?? []) collect(nodes, subgraph, `${subgraph.name ?? subgraph.id}:`);
  return nodes;
}

function promptNodes(prompt) {
  const nodes = new Map();
  for (const [id, node] of Object.entries(prompt)) {
    if (typeof node?.class_type !== "string") continue;
    nodes.set(id, { id, name: node._meta?.title ?? node.class_type, values: { type: node.class_type, ...node.inputs } });
  }
  return nodes;
}

function collect(nodes, graph, prefix) {
  const origins = originsOf(graph.links ?? []);
  for (const node of graph.nodes ?? []) {
    const id = `${prefix}${node.id}`;
    nodes.set(id, { id, name: node.title ?? node.type, values: pageValues(node, origins) });
  }
}

/** Where each link comes from, by its id: `node:slot`. Links are arrays, or objects in subgraphs. */
function originsOf(links) {
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
  const nameAt = (place) => (names.length === values.length ? names[place] : `${place + 1}`);
  return Object.fromEntries(values.map((value, place) => [`widget ${nameAt(place)}`, value]));
}

function differences(before, after) {
  const changes = [];
  for (const what of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (JSON.stringify(before[what]) === JSON.stringify(after[what])) continue;
    changes.push({ what, before: before[what], after: after[what] });
  }
  return changes;
}
