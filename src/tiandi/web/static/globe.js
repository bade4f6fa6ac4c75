// The globe's stage: camera and hand, and when a picture is drawn. Nothing is drawn while nothing changes.
import * as three from "./vendor/three.js";
import { makeEarth, place } from "./earth.js";
import { Drawing } from "./drawing.js";
import { state, select, hopsOf } from "./state.js";

const FIELD_DEG = 36;
const GLIDE_MS = 950;
const NARROW_PX = 800;

export class Globe {
  constructor(stage, { lite }) {
    this.stage = stage;
    this.lite = lite;
    this.overlay = stage.querySelector("#overlay");
    this.renderer = new three.WebGLRenderer({ canvas: stage.querySelector("#globe"), antialias: !lite, alpha: true, powerPreference: "high-performance" });
    this.renderer.outputColorSpace = "srgb-linear"; // Colours come as the screen shows them: no conversion.
    this.scene = new three.Scene();
    this.camera = new three.PerspectiveCamera(FIELD_DEG, 1, 0.005, 130);
    this.camera.position.copy(place(30, 105).multiplyScalar(4));
    this.drawing = new Drawing(this.overlay);
    this.positions = new Map(); // satellite -> {from, to}
    this.glide = { begun: 0, share: 1 };
    this.pictures = 0;
    this.hands();
  }

  async start() {
    this.earth = await makeEarth(this.scene, { lite: this.lite, maximumTexture: this.renderer.capabilities.maxTextureSize });
    this.earth.recolour();
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.resize();
  }

  hands() {
    const controls = new three.OrbitControls(this.camera, this.overlay);
    controls.enablePan = false;
    controls.minDistance = 1.08;
    controls.maxDistance = 9;
    controls.addEventListener("start", () => { this.isWhole = false; });
    controls.addEventListener("change", () => {
      const height = this.camera.position.length() - 1;
      controls.rotateSpeed = Math.min(1, 0.42 * height);
      controls.zoomSpeed = Math.min(1.4, 0.5 + height);
      this.ask();
    });
    this.controls = controls;
    let down = null;
    this.overlay.addEventListener("pointerdown", (event) => { down = [event.clientX, event.clientY]; });
    this.overlay.addEventListener("pointerup", (event) => {
      if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 5) this.pick(event);
    });
    this.overlay.addEventListener("keydown", (event) => {
      const step = Math.min(0.25, 0.12 * (this.camera.position.length() - 1) + 0.01);
      const turns = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (turns[event.key]) this.turn(...turns[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(0.8);
      else if (event.key === "-") this.zoom(1.25);
      else if (event.key === "0") this.showWhole();
      else return;
      event.preventDefault();
    });
  }

  turn(east, north) {
    this.isWhole = false;
    const at = this.camera.position;
    const r = at.length();
    const latitude = Math.max(-1.5, Math.min(1.5, Math.asin(at.y / r) + north));
    const longitude = Math.atan2(-at.z, at.x) + east;
    at.copy(place((latitude * 180) / Math.PI, (longitude * 180) / Math.PI)).multiplyScalar(r);
    this.controls.update();
    this.ask();
  }

  zoom(factor) {
    this.isWhole = false;
    const height = this.camera.position.length() - 1;
    // Closer means closer to what is chosen.
    const chosen = factor < 1 && state.selection && this.network ? this.drawing.find(state.selection, this.hops, (name) => this.where(name)) : null;
    if (chosen) this.camera.position.normalize().lerp(chosen.clone().normalize(), 0.4);
    this.camera.position.setLength(1 + Math.max(0.08, Math.min(8, height * factor)));
    this.controls.update();
    this.ask();
  }

  // The part of the stage that no panel covers, in px.
  free() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (innerWidth <= NARROW_PX) return { left: 0, width, height };
    const right = document.getElementById("detail").hidden ? 0 : 380;
    return { left: 344, width: width - 344 - right, height };
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    const dots = this.lite ? 1 : Math.min(devicePixelRatio, 2);
    this.renderer.setPixelRatio(dots);
    this.renderer.setSize(width, height, false);
    this.drawing.resize(width, height);
    const free = this.free();
    this.camera.aspect = width / height;
    this.camera.setViewOffset(width, height, Math.round(width / 2 - (free.left + free.width / 2)), 0, width, height);
    // Who has not turned the globe sees all of it, whatever panel has opened.
    if (this.isWhole) this.showWhole();
    this.ask();
  }

  // All nodes in the free part of the stage; the globe as a whole where they are far apart or there are satellites on the way.
  showWhole() {
    const spots = (state.network?.nodes ?? []).filter((node) => node.latitude_deg !== null && node.longitude_deg !== null && node.kind !== "satellite")
      .map((node) => place(node.latitude_deg, node.longitude_deg));
    this.isWhole = true;
    const middle = spots.reduce((sum, spot) => sum.add(spot), new three.Vector3());
    if (middle.length() < 0.05) middle.copy(place(25, 105));
    middle.normalize();
    const spread = Math.max(0.02, ...spots.map((spot) => spot.angleTo(middle)));
    const free = this.free();
    const half = Math.tan((FIELD_DEG * Math.PI) / 360) * Math.min(1, (free.width - 60) / free.height);
    const whole = 1.13 / Math.sin(Math.atan(half));
    const near = Math.cos(spread) + (Math.sin(spread) * 1.22) / half;
    this.camera.position.copy(middle.multiplyScalar(!spots.length || state.network?.satellites.length || spread > 0.6 ? whole : Math.min(whole, Math.max(1.12, near))));
    this.controls.update();
    this.ask();
  }

  // Turns to what was chosen, if it is not in sight.
  lookAt(selection) {
    if (!selection || !this.network || (selection.kind === "satellite" && !this.positions.has(selection.name))) return;
    this.resize();
    this.drawing.aim(this.camera);
    const point = this.drawing.find(selection, this.hops, (name) => this.where(name));
    const spot = point && this.drawing.onScreen(point);
    const free = this.free();
    const seen = spot && spot[0] > free.left + 20 && spot[0] < free.left + free.width - 20 && spot[1] > 20 && spot[1] < free.height - 20;
    if (!point || seen) return;
    this.isWhole = false;
    const r = this.camera.position.length();
    this.camera.position.copy(point).setLength(r);
    this.controls.update();
    this.ask();
  }

  pick(event) {
    const box = this.overlay.getBoundingClientRect();
    const found = this.drawing.at(event.clientX - box.left, event.clientY - box.top, event.pointerType === "mouse" ? 11 : 20);
    if (found) select(found.kind, found.name);
  }

  // A new view of the network: satellites glide to where they are now, if anything is to move.
  show(network) {
    const first = !this.network;
    this.network = network;
    this.hops = hopsOf(network);
    this.earth.setSun(network.sun.latitude_deg, network.sun.longitude_deg);
    let moved = false;
    for (const satellite of network.satellites) {
      const to = place(satellite.latitude_deg, satellite.longitude_deg, satellite.altitude_km);
      const from = this.positions.has(satellite.name) ? this.where(satellite.name) : to;
      moved ||= from.distanceToSquared(to) > 1e-8;
      this.positions.set(satellite.name, { from: from.distanceTo(to) > 0.6 ? to : from, to });
    }
    const still = this.lite || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.glide = { begun: performance.now(), share: moved && !still ? 0 : 1 };
    if (first) this.showWhole();
    this.ask();
  }

  where(satellite) {
    const { from, to } = this.positions.get(satellite);
    const share = this.glide.share;
    return from.clone().lerp(to, share).setLength(from.length() + (to.length() - from.length()) * share);
  }

  recolour() { this.earth?.recolour(); this.drawing.recolour(); this.ask(); }

  // From now on it is drawn: before, there is nothing to show, and a picture takes a slow machine long.
  begin() {
    this.begun = true;
    this.ask();
  }

  ask() {
    if (this.asked || !this.begun) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }

  draw() {
    if (this.glide.share < 1) this.glide.share = Math.min(1, (performance.now() - this.glide.begun) / GLIDE_MS);
    this.renderer.render(this.scene, this.camera);
    if (this.network) {
      this.drawing.draw(this.network, this.hops, this.camera, (name) => this.where(name));
      this.stage.dataset.network = "drawn";
    }
    this.pictures += 1;
    this.stage.dataset.pictures = this.pictures;
    if (this.glide.share < 1) this.ask();
  }
}


