/** Dropping what is dragged within the page on the rows of a tree. */

/**
 * Let things be dropped on rows. Files are left to others.
 *
 * @param {HTMLElement} tree
 * @param {(event: DragEvent) => (() => unknown) | null} dropAt returns what a drop does, or null where there is none
 */
export function acceptDrops(tree, dropAt) {
  /** @type {Element | null} */
  let marked = null;
  /** @param {Element | null} row */
  const mark = (row) => {
    marked?.classList.remove("ca-drop-row");
    marked = row;
    marked?.classList.add("ca-drop-row");
  };
  /** @param {DragEvent} event */
  const taken = (event) => (event.dataTransfer?.types.includes("Files") ? null : dropAt(event));
  tree.addEventListener("dragover", (event) => {
    const isTaken = taken(event) !== null;
    mark(isTaken && event.target instanceof Element ? event.target.closest(".ca-tree-row") : null);
    if (!isTaken) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy"; // as the drag's data allows
  });
  tree.addEventListener("dragleave", (event) => {
    if (!(event.relatedTarget instanceof Node && tree.contains(event.relatedTarget))) mark(null);
  });
  tree.addEventListener("drop", (event) => {
    const drop = taken(event);
    mark(null);
    if (drop === null) return;
    event.preventDefault();
    event.stopPropagation();
    drop();
  });
}
