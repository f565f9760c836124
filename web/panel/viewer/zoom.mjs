/**
 * Zooming and panning of pictures. One state can move several panes: it is relative to the size at which each picture
 * fits into its pane, so that pictures of different sizes show the same part.
 */

const WHEEL_STEP = 0.0015; // per px that the wheel reports
const PINCH_STEP = 0.01; // touchpads report a pinch as a wheel with Ctrl, in smaller steps
const KEY_STEP = 1.25;
const MAX_SCALE = 16; // device px per px of the picture
const PIXELATED_FROM = 3; // device px per px of the picture; smoothed, they could not be told apart
const SWIPE_PX = 50;
const OWN_GESTURES = "canvas, video, audio, pre"; // what a finger moves itself

/** The part that is in view. Dispatches "change" events. */
export class ZoomState extends EventTarget {
  /** 1 is the size at which the picture fits. */
  zoom = 1;
  /** The point of the picture in the middle of the pane, from 0 to 1. */
  x = 0.5;
  y = 0.5;

  /**
   * @param {number} zoom
   * @param {number} [x]
   * @param {number} [y]
   */
  set(zoom, x = this.x, y = this.y) {
    Object.assign(this, { zoom, x, y });
    this.dispatchEvent(new Event("change"));
  }

  fit() {
    this.set(1, 0.5, 0.5);
  }
}

/** An element that shows one picture at the zoom of a state. */
export class ZoomPane {
  #element;
  #state;
  #onSwipe;
  /** @type {HTMLElement | null} */
  #content = null;
  #size = { width: 1, height: 1 }; // of the content
  #pane = { width: 1, height: 1 };
  /** @type {Map<number, { x: number, y: number }>} by id */
  #pointers = new Map();
  #start = { x: 0, y: 0 }; // of the first pointer

  /**
   * @param {HTMLElement} element
   * @param {ZoomState} state
   * @param {(by: 1 | -1) => unknown} [onSwipe] called for a swipe over a picture that is not enlarged
   */
  constructor(element, state, onSwipe = () => {}) {
    this.#element = element;
    this.#state = state;
    this.#onSwipe = onSwipe;
    element.classList.add("ca-zoom");
    state.addEventListener("change", () => this.#apply());
    new ResizeObserver(() => this.#measure()).observe(element);
    element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    element.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) {
      element.addEventListener(type, (event) => this.#onPointerUp(event));
    }
    element.addEventListener("dblclick", (event) => {
      if (this.#content !== null) this.toggleActualSize(event);
    });
  }

  /** How many px of the page one px of the picture takes. */
  get scale() {
    return this.#fitScale * this.#state.zoom;
  }

  get #fitScale() {
    return Math.min(this.#pane.width / this.#size.width, this.#pane.height / this.#size.height);
  }

  /** The zoom at which a px of the picture is one of the screen. */
  get #actualZoom() {
    return 1 / (devicePixelRatio * this.#fitScale);
  }

  /** Whether the picture is shown with one px of the screen for each of its own. */
  get isActualSize() {
    return Math.abs(this.#state.zoom / this.#actualZoom - 1) < 0.001;
  }

  /**
   * Show content of a size in px, or none that can be enlarged.
   *
   * @param {HTMLElement | null} content a child of the element
   * @param {{ width: number, height: number }} [size]
   */
  setContent(content, size = { width: 1, height: 1 }) {
    this.#content = content;
    this.#size = size;
    this.#pointers.clear();
    this.#measure();
  }

  /**
   * Enlarge or reduce around a point, without which it is the middle.
   *
   * @param {number} factor
   * @param {{ clientX: number, clientY: number }} [point]
   */
  zoomBy(factor, point) {
    const most = Math.max(this.#actualZoom * MAX_SCALE, 1);
    const zoom = Math.min(Math.max(this.#state.zoom * factor, Math.min(1, this.#actualZoom)), most);
    const { left, top } = this.#element.getBoundingClientRect();
    const { width, height } = this.#pane;
    const dx = point === undefined ? 0 : point.clientX - left - width / 2;
    const dy = point === undefined ? 0 : point.clientY - top - height / 2;
    const [before, after] = [this.scale, this.#fitScale * zoom];
    const x = this.#state.x + (dx / before - dx / after) / this.#size.width;
    const y = this.#state.y + (dy / before - dy / after) / this.#size.height;
    this.#set(zoom, x, y);
  }

  /** @param {1 | -1} direction */
  zoomByKey(direction) {
    this.zoomBy(KEY_STEP ** direction);
  }

  /**
   * Change between the size that fits and one px of the screen for each of the picture.
   *
   * @param {{ clientX: number, clientY: number }} [point] stays where it is
   */
  toggleActualSize(point) {
    if (this.#state.zoom === 1) this.zoomBy(this.#actualZoom, point);
    else this.#state.fit();
  }

  /**
   * Move the view by a part of its size.
   *
   * @param {number} right
   * @param {number} down
   */
  pan(right, down) {
    this.#moveBy(-right * this.#pane.width, -down * this.#pane.height);
  }

  #measure() {
    const { clientWidth, clientHeight } = this.#element;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.#pane = { width: clientWidth, height: clientHeight };
    this.#apply();
  }

  /**
   * Set the state, within the edges of this pane's picture.
   *
   * @param {number} zoom
   * @param {number} x
   * @param {number} y
   */
  #set(zoom, x, y) {
    const scale = this.#fitScale * zoom;
    this.#state.set(
      zoom,
      withinEdges(x, this.#pane.width / (this.#size.width * scale)),
      withinEdges(y, this.#pane.height / (this.#size.height * scale)),
    );
  }

  /**
   * @param {number} dx in px of the page
   * @param {number} dy
   */
  #moveBy(dx, dy) {
    const { zoom, x, y } = this.#state;
    this.#set(zoom, x - dx / (this.#size.width * this.scale), y - dy / (this.#size.height * this.scale));
  }

  #apply() {
    const content = this.#content;
    if (content === null) return;
    const { width, height } = this.#size;
    const { scale } = this;
    const x = withinEdges(this.#state.x, this.#pane.width / (width * scale));
    const y = withinEdges(this.#state.y, this.#pane.height / (height * scale));
    const left = this.#pane.width / 2 - x * width * scale;
    const top = this.#pane.height / 2 - y * height * scale;
    content.style.width = `${width}px`;
    content.style.height = `${height}px`;
    content.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    content.classList.toggle("ca-pixelated", scale * devicePixelRatio >= PIXELATED_FROM);
    this.#element.classList.toggle("ca-zoomed", this.#state.zoom > 1);
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    if (this.#content === null) return;
    event.preventDefault(); // the page would scroll, or zoom itself
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? PINCH_STEP : WHEEL_STEP)), event);
  }

  /** @param {PointerEvent} event */
  #onPointerDown(event) {
    if (event.button !== 0 || (this.#content === null && event.pointerType !== "touch")) return;
    if (event.target instanceof Element && event.target.closest(OWN_GESTURES)) return;
    if (this.#pointers.size === 0) this.#start = { x: event.clientX, y: event.clientY };
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.#content !== null) this.#element.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #onPointerMove(event) {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined || this.#content === null) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (other === undefined) this.#moveBy(now.x - before.x, now.y - before.y);
    else {
      const factor = distance(now, other) / Math.max(distance(before, other), 1);
      this.zoomBy(factor, { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 });
      this.#moveBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    }
  }

  /** @param {PointerEvent} event */
  #onPointerUp(event) {
    const isOnly = this.#pointers.size === 1;
    if (!this.#pointers.delete(event.pointerId) || !isOnly || event.type === "pointercancel") return;
    const dx = event.clientX - this.#start.x;
    const isSideways = Math.abs(dx) > SWIPE_PX && Math.abs(dx) > 2 * Math.abs(event.clientY - this.#start.y);
    if (event.pointerType === "touch" && this.#state.zoom <= 1 && isSideways) this.#onSwipe(dx < 0 ? 1 : -1);
  }
}

/**
 * Return the middle of the view within the edges of the picture, of which `part` is in view.
 *
 * @param {number} middle from 0 to 1
 * @param {number} part
 */
function withinEdges(middle, part) {
  return part >= 1 ? 0.5 : Math.min(Math.max(middle, part / 2), 1 - part / 2);
}

/**
 * @param {{ x: number, y: number }} one
 * @param {{ x: number, y: number }} other
 */
function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}
