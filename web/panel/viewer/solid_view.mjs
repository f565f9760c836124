/** 3D files that turn under the mouse, by three.js, which is loaded with this module. */

/** @import { Asset } from "../api.d.ts" */
/** @import { HostPage, PanelContext } from "../types.d.ts" */

import { setChildren } from "../shared/dom.mjs";
import { loadingPlaceholder } from "../shared/placeholders.mjs";
import { contentPath, viewParams } from "../library/asset.mjs";
import { solidFormat } from "./solid_formats.mjs";

const MAX_BYTES = 256 * 1024 * 1024;
const SPLAT_COLOURS = ["f_dc_0", "f_dc_1", "f_dc_2"];
const HARMONIC = 0.28209479; // the constant of the first one
const PLY_HEADER_BYTES = 16_384;
const COLOUR = 0xb8b8b8; // of surfaces whose file has none
const FIELD_OF_VIEW = 40; // degrees
const MARGIN = 1.15;
const MAX_PIXEL_RATIO = 2;

/**
 * Load a module of three.js. Not by a plain import: it has no types, and the type checker would read all of it.
 *
 * @param {string} name
 * @returns {Promise<any>}
 */
function three(name) {
  return import(new URL(`../../vendor/three/${name}.mjs`, import.meta.url).href);
}

/**
 * Show a 3D file in an element until a signal ends it. Throws if the file or WebGL cannot be used.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {HTMLElement} element
 * @param {AbortSignal} signal
 */
export async function showSolid({ page, t }, asset, element, signal) {
  setChildren(element, loadingPlaceholder(t));
  if (asset.size > MAX_BYTES) throw new Error("the file is too large");
  const library = await three("three.module.min");
  const renderer = new library.WebGLRenderer({ antialias: true, alpha: true }); // throws without WebGL
  signal.addEventListener("abort", () => {
    renderer.dispose();
    renderer.forceContextLoss(); // browsers allow few contexts at a time
  });
  try {
    const { object, animations } = await readFile(library, page, asset, signal);
    if (signal.aborted) return;
    const [{ OrbitControls }, { RoomEnvironment }] = await Promise.all([
      three("OrbitControls"),
      three("RoomEnvironment"),
    ]);
    const stage = new SolidStage(library, renderer, OrbitControls, element);
    stage.reflect(new RoomEnvironment());
    setChildren(element, renderer.domElement);
    renderer.domElement.setAttribute("aria-label", asset.name);
    stage.show(object, animations);
    signal.addEventListener("abort", () => stage.stop());
    if (signal.aborted) stage.stop();
  } catch (error) {
    renderer.dispose();
    throw error;
  }
}

/**
 * Return the object in a file, and its animations.
 *
 * @param {any} library
 * @param {HostPage} page
 * @param {Asset} asset
 * @param {AbortSignal} signal
 * @returns {Promise<{ object: any, animations: any[] }>}
 */
async function readFile(library, page, asset, signal) {
  const response = await page.fetch(contentPath(asset, "inline"), { signal });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const body = await response.arrayBuffer();
  const manager = new library.LoadingManager();
  manager.setURLModifier((/** @type {string} */ url) => neighbour(page, asset, url));
  const surface = { color: COLOUR, roughness: 0.75, side: library.DoubleSide };
  switch (solidFormat(asset)) {
    case "obj": {
      const { OBJLoader } = await three("OBJLoader");
      return { object: new OBJLoader(manager).parse(new TextDecoder().decode(body)), animations: [] };
    }
    case "stl": {
      const { STLLoader } = await three("STLLoader");
      const geometry = new STLLoader(manager).parse(body);
      geometry.computeVertexNormals(); // those in the file are often zero
      const material = new library.MeshStandardMaterial({ ...surface, vertexColors: geometry.hasAttribute("color") });
      return { object: new library.Mesh(geometry, material), animations: [] };
    }
    case "ply": {
      const { PLYLoader } = await three("PLYLoader");
      const geometry = readPly(library, new PLYLoader(manager), body);
      const vertexColors = geometry.hasAttribute("color");
      if (geometry.index === null) {
        const material = new library.PointsMaterial({ size: 0.01, vertexColors });
        return { object: new library.Points(geometry, material), animations: [] };
      }
      if (!geometry.hasAttribute("normal")) geometry.computeVertexNormals();
      const material = new library.MeshStandardMaterial({ ...surface, vertexColors });
      return { object: new library.Mesh(geometry, material), animations: [] };
    }
    default: {
      const { GLTFLoader } = await three("GLTFLoader");
      const { scene, animations } = await new GLTFLoader(manager).parseAsync(body, "");
      return { object: scene, animations };
    }
  }
}

/**
 * Return the geometry in a PLY file. Gaussian splats have their colours as the first spherical harmonics.
 *
 * @param {any} library
 * @param {any} loader
 * @param {ArrayBuffer} body
 */
function readPly(library, loader, body) {
  const header = new TextDecoder().decode(body.slice(0, PLY_HEADER_BYTES)).split("end_header")[0];
  if (!SPLAT_COLOURS.every((name) => header.includes(` ${name}`))) return loader.parse(body);
  loader.setCustomPropertyNameMapping({ harmonics: SPLAT_COLOURS });
  const geometry = loader.parse(body);
  const colours = geometry.getAttribute("harmonics").array;
  const colour = new library.Color();
  for (let at = 0; at < colours.length; at += 3) {
    const [red, green, blue] = [0, 1, 2].map((each) => 0.5 + HARMONIC * colours[at + each]);
    colour.setRGB(red, green, blue, library.SRGBColorSpace).toArray(colours, at);
  }
  geometry.setAttribute("color", geometry.getAttribute("harmonics"));
  return geometry;
}

/**
 * Return the address of a file that a 3D file names: of data in it, or of a file in the same folder. A file from
 * elsewhere must not make the browser ask other servers.
 *
 * @param {HostPage} page
 * @param {Asset} asset
 * @param {string} url
 */
function neighbour(page, asset, url) {
  if (/^(?:data|blob):/.test(url)) return url;
  const params = viewParams(asset);
  if (params === null || /^[a-z][a-z0-9+.-]*:|^\/|\\|(?:^|\/)\.\.(?:\/|$)/i.test(url)) return "data:,";
  const path = `${params.subfolder}/${decodeURIComponent(url)}`.split("/").filter(Boolean);
  const filename = path.pop() ?? "";
  return page.url(`/view?${new URLSearchParams({ filename, subfolder: path.join("/"), type: params.type })}`);
}

/** The scene with one object, drawn only when something moves. */
class SolidStage {
  #library;
  #renderer;
  #element;
  #scene;
  #camera;
  #controls;
  #observer;
  #frame = 0;
  #before = 0;
  /** @type {any} the player of animations */
  #mixer = null;

  /**
   * @param {any} library
   * @param {any} renderer
   * @param {any} OrbitControls
   * @param {HTMLElement} element
   */
  constructor(library, renderer, OrbitControls, element) {
    this.#library = library;
    this.#renderer = renderer;
    this.#element = element;
    renderer.toneMapping = library.NeutralToneMapping; // bright colours keep their shades
    renderer.setPixelRatio(Math.min(devicePixelRatio, MAX_PIXEL_RATIO));
    this.#scene = new library.Scene();
    this.#camera = new library.PerspectiveCamera(FIELD_OF_VIEW);
    const light = new library.DirectionalLight(0xffffff, 0.8);
    light.position.set(0.6, 0.8, 1);
    this.#camera.add(light); // the side that is seen is always lit
    this.#scene.add(this.#camera);
    this.#controls = new OrbitControls(this.#camera, renderer.domElement);
    this.#controls.addEventListener("change", () => this.#draw());
    this.#controls.addEventListener("start", () => (this.#controls.autoRotate = false));
    this.#controls.autoRotate = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#observer = new ResizeObserver(() => this.#resize());
  }

  /**
   * Light the object by the reflection of a room: metal, the default of glTF, is black without any.
   *
   * @param {any} room a scene
   */
  reflect(room) {
    const generator = new this.#library.PMREMGenerator(this.#renderer);
    this.#scene.environment = generator.fromScene(room, 0.04).texture;
    generator.dispose();
    room.dispose();
  }

  /**
   * Show an object at the size of the view, and play its first animation.
   *
   * @param {any} object
   * @param {any[]} animations
   */
  show(object, animations) {
    this.#scene.add(object);
    const box = new this.#library.Box3().setFromObject(object);
    if (box.isEmpty()) throw new Error("there is nothing to show");
    const { center, radius } = box.getBoundingSphere(new this.#library.Sphere());
    const distance = (MARGIN * radius) / Math.sin((FIELD_OF_VIEW / 2) * (Math.PI / 180)) || 1;
    this.#camera.near = distance / 100;
    this.#camera.far = distance * 100;
    this.#camera.position.copy(center).add(
      new this.#library.Vector3(0.35, 0.25, 0.9).normalize().multiplyScalar(distance),
    );
    this.#controls.target.copy(center);
    object.traverse((/** @type {any} */ part) => {
      if (part.isPoints) part.material.size = radius / 200;
    });
    if (animations.length > 0) {
      this.#mixer = new this.#library.AnimationMixer(object);
      this.#mixer.clipAction(animations[0]).play();
    }
    this.#observer.observe(this.#element);
    this.#resize();
    this.#run(performance.now());
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#controls.dispose();
    this.#scene.environment?.dispose();
    this.#scene.traverse((/** @type {any} */ part) => part.geometry?.dispose());
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#element;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.#renderer.setSize(clientWidth, clientHeight);
    this.#camera.aspect = clientWidth / clientHeight;
    this.#camera.updateProjectionMatrix();
    this.#controls.update();
    this.#draw();
  }

  #draw() {
    this.#renderer.render(this.#scene, this.#camera);
  }

  /** @param {number} now in milliseconds */
  #run(now) {
    const seconds = this.#before === 0 ? 0 : (now - this.#before) / 1000;
    this.#before = now;
    this.#controls.update(seconds); // draws if the camera has moved
    if (this.#mixer !== null) {
      this.#mixer.update(seconds);
      this.#draw();
    }
    this.#frame = requestAnimationFrame((next) => this.#run(next));
  }
}
