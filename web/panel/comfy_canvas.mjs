/** The nodes on the canvas of ComfyUI's page: adding them, setting their widgets, and drops of assets on them. */

/** @import { CanvasGraph, CanvasNode, ComfyApp } from "./comfyui.d.ts" */
/** @import { NodeCanvas, NodeInputs, ScreenPoint } from "./types.d.ts" */

const GAP_PX = 60; // between a node and the one that is put below it
/** What a LoRA changes: a node with outputs of both types passes them on to those that use them. */
const CHAINED = ["MODEL", "CLIP"];

/**
 * Return an adapter for the canvas.
 *
 * @param {ComfyApp} app
 * @returns {NodeCanvas}
 */
export function comfyCanvas(app) {
  /** @param {string} type */
  const create = (type) => globalThis.LiteGraph?.createNode(type) ?? null;
  const changed = () => {
    app.canvas.graph.setDirtyCanvas(true, true);
    app.extensionManager.workflow?.activeWorkflow?.changeTracker?.checkState?.(); // for the page's own undo
  };
  return {
    nodeInputs: () => nodeInputs(),

    add(type, values, { at, shift = 0 } = {}) {
      const node = create(type);
      if (node === null) return false;
      const [x, y] = at ? app.clientPosToCanvasPos([at.x, at.y]) : middle(app);
      node.pos = [x + shift, y + shift];
      app.canvas.graph.add(node);
      setWidgets(node, values);
      changed();
      return true;
    },

    set(types, values) {
      const nodes = nodesOf(app.canvas.graph).filter((node) => types.includes(typeOf(node)));
      const selected = Object.values(app.canvas.selected_nodes ?? {}).find((node) => nodes.includes(node));
      const node = selected ?? (nodes.length === 1 ? nodes[0] : undefined);
      if (node === undefined) return null;
      setWidgets(node, values[typeOf(node)]);
      changed();
      return typeOf(node);
    },

    addToChain(type, values) {
      const source = endOfChain(app);
      const node = create(type);
      if (node === null) return null;
      node.pos = source ? [source.pos[0], source.pos[1] + source.size[1] + GAP_PX] : middle(app);
      app.canvas.graph.add(node);
      setWidgets(node, values);
      const isConnected = source !== null && insertBehind(app.canvas.graph, source, node);
      changed();
      return { isConnected };
    },

    acceptDrop: (options, drop) => acceptDrop(app, options, drop),
  };
}

/** @returns {Record<string, NodeInputs>} */
function nodeInputs() {
  /** @type {Record<string, NodeInputs>} */
  const found = {};
  for (const [type, { nodeData }] of Object.entries(globalThis.LiteGraph?.registered_node_types ?? {})) {
    const inputs = { ...nodeData?.input?.required, ...nodeData?.input?.optional };
    found[type] = Object.fromEntries(Object.entries(inputs).map(([name, spec]) => [name, choicesOf(spec)]));
  }
  return found;
}

/**
 * Return the choices of an input, in either of the forms that servers describe it in; none for other inputs.
 *
 * @param {unknown} spec
 * @returns {string[]}
 */
function choicesOf(spec) {
  if (!Array.isArray(spec)) return [];
  const choices = Array.isArray(spec[0]) ? spec[0] : spec[1]?.options;
  return Array.isArray(choices) ? choices.filter((choice) => typeof choice === "string") : [];
}

/** @param {CanvasNode} node */
function typeOf(node) {
  return node.comfyClass ?? node.type;
}

/** @param {CanvasGraph} graph */
function nodesOf(graph) {
  return graph.nodes ?? graph._nodes ?? [];
}

/**
 * @param {ComfyApp} app
 * @returns {[number, number]}
 */
function middle({ canvas }) {
  const [x, y, width, height] = canvas.ds.visible_area ?? canvas.visible_area ?? [0, 0, 0, 0];
  return [x + width / 2, y + height / 2];
}

/**
 * Set widgets by name. Where a widget's choices have a name with the slashes of Windows, that is taken.
 *
 * @param {CanvasNode} node
 * @param {Record<string, string>} values
 */
function setWidgets(node, values) {
  for (const [name, value] of Object.entries(values)) {
    const widget = node.widgets?.find((each) => each.name === name);
    if (widget === undefined) continue;
    const choices = widget.options?.values;
    const known = Array.isArray(choices) ? choices.find((choice) => withSlashes(choice) === value) : undefined;
    widget.value = known ?? value;
    widget.callback?.(widget.value);
  }
}

/** @param {unknown} choice */
function withSlashes(choice) {
  return typeof choice === "string" ? choice.replaceAll("\\", "/") : choice;
}

/**
 * Return the node behind which a LoRA belongs: the selected one, or the only last one with a model and a CLIP to pass
 * on; null if that is not certain.
 *
 * @param {ComfyApp} app
 */
function endOfChain({ canvas }) {
  const selected = Object.values(canvas.selected_nodes ?? {}).filter(isChained);
  if (selected.length > 0) return selected.length === 1 ? selected[0] : null;
  const chained = nodesOf(canvas.graph).filter(isChained);
  const ends = chained.filter((node) => !targetsOf(canvas.graph, node, "MODEL").some(({ node }) => isChained(node)));
  return ends.length === 1 ? ends[0] : null;
}

/** @param {CanvasNode | null} node */
function isChained(node) {
  return CHAINED.every((type) => node?.outputs?.some((output) => output.type === type));
}

/**
 * Return the inputs that use a node's output of a type. The node is null for an output of the subgraph.
 *
 * @param {CanvasGraph} graph
 * @param {CanvasNode} node
 * @param {string} type
 */
function targetsOf(graph, node, type) {
  const links = node.outputs?.find((output) => output.type === type)?.links ?? [];
  return links.flatMap((id) => {
    const link = graph.links instanceof Map ? graph.links.get(id) : graph.links[id];
    return link ? [{ node: graph.getNodeById(link.target_id), slot: link.target_slot }] : [];
  });
}

/**
 * Connect a new node between a node and all that use its model and CLIP. Returns false, with nothing connected, if that
 * is not possible.
 *
 * @param {CanvasGraph} graph
 * @param {CanvasNode} source
 * @param {CanvasNode} node
 */
function insertBehind(graph, source, node) {
  const targets = CHAINED.map((type) => targetsOf(graph, source, type));
  const canPass = CHAINED.every((type) => node.inputs?.some((input) => input.type === type)) && isChained(node);
  if (!canPass || targets.flat().some((target) => target.node === null)) return false;
  for (const [index, type] of CHAINED.entries()) {
    /** @param {{ type: string }} slot */
    const isOfType = (slot) => slot.type === type;
    source.connect(source.outputs?.findIndex(isOfType) ?? 0, node, node.inputs?.findIndex(isOfType) ?? 0);
    const output = node.outputs?.findIndex(isOfType) ?? 0;
    for (const target of targets[index]) if (target.node) node.connect(output, target.node, target.slot);
  }
  return true;
}

let stopAccepting = () => {};

/**
 * Let what is being dragged be dropped on the canvas, until the drag ends. The page would ignore it, or upload it.
 *
 * @param {ComfyApp} app
 * @param {{ onNodes: boolean }} options false to leave drops on nodes to the page
 * @param {(at: ScreenPoint, type: string | null, set: (values: Record<string, string>) => void) => void} drop receives
 *   the place, the type of the node there, and a function that sets its widgets
 */
function acceptDrop(app, { onNodes }, drop) {
  stopAccepting(); // the end of a drag whose element is gone is not reported
  const listeners = new AbortController();
  stopAccepting = () => listeners.abort();
  const options = { capture: true, signal: listeners.signal };
  document.addEventListener("dragover", (event) => {
    if (isOnCanvas(app, event)) event.preventDefault();
  }, options);
  document.addEventListener("drop", (event) => {
    if (!isOnCanvas(app, event)) return;
    const [x, y] = app.clientPosToCanvasPos([event.clientX, event.clientY]);
    const node = app.canvas.graph.getNodeOnPos(x, y) ?? null;
    if (node !== null && !onNodes) return;
    event.preventDefault();
    event.stopPropagation();
    drop({ x: event.clientX, y: event.clientY }, node && typeOf(node), (values) => {
      if (node) setWidgets(node, values);
      app.canvas.graph.setDirtyCanvas(true, true);
    });
  }, options);
  document.addEventListener("dragend", () => listeners.abort(), options);
}

/**
 * Return whether a drag is over the canvas. Newer pages draw nodes as elements above it; texts in them take text.
 *
 * @param {ComfyApp} app
 * @param {DragEvent} event
 */
function isOnCanvas({ canvas }, { target, clientX, clientY }) {
  if (!(target instanceof Element) || target.closest(".ca-root, textarea, input, [contenteditable], [role=dialog]")) {
    return false;
  }
  const { left, right, top, bottom } = canvas.canvas.getBoundingClientRect();
  return clientX >= left && clientX < right && clientY >= top && clientY < bottom;
}
