/** Files that are dropped on an element. */

/**
 * Accept dropped files, but not the panel's own assets, which are dragged without files.
 *
 * @param {HTMLElement} element
 * @param {(files: File[]) => void} onFiles
 */
export function acceptFiles(element, onFiles) {
  let depth = 0; // of entered elements: a drag enters a child before it leaves the parent
  /** @param {number} value */
  const setDepth = (value) => {
    depth = value;
    element.classList.toggle("ca-drop-target", depth > 0);
  };
  /**
   * @param {"dragenter" | "dragover" | "dragleave" | "drop"} type
   * @param {(files: FileList) => void} action
   */
  const on = (type, action) =>
    element.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation(); // the page would open the file on the canvas
      action(event.dataTransfer.files);
    });
  on("dragenter", () => setDepth(depth + 1));
  on("dragover", () => {}); // must be cancelled for a drop to be possible
  on("dragleave", () => setDepth(depth - 1));
  on("drop", (files) => {
    setDepth(0);
    onFiles([...files]);
  });
}
