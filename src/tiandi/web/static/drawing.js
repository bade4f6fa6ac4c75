// What lies over the globe: hops, beams, orbits, footprints, nodes and their names, drawn as lines and signs on a flat canvas.
import { Vector3 } from "./vendor/three.js";
import { place, RADIUS_KM } from "./earth.js";
import { colourOf } from "./dom.js";
import { DASHES, STATE_COLOURS, rateColour } from "./colours.js";
import { state, isSelected } from "./state.js";
import { nameOf } from "./words.js";

const ARC_STEP = 0.02;
const NAMED = ["label", "halo", "orbit", "satellite", "accent", "idle", "spy", "bad", "warn", "ink-soft", "panel-solid", "good"];

export class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.arcs = new Map();
    this.recolour();
  }

  recolour() { this.colours = Object.fromEntries(NAMED.map((name) => [name, colourOf(name)])); }

  resize(width, height) {
    const dots = Math.min(devicePixelRatio, 2);
    [this.width, this.height] = [width, height];
    this.canvas.width = width * dots;
    this.canvas.height = height * dots;
    this.pen.setTransform(dots, 0, 0, dots, 0, 0);
  }

  // From where the Earth is seen.
  aim(camera) {
    camera.updateMatrixWorld();
    this.camera = camera;
    this.eye = camera.position;
  }

  draw(network, hops, camera, where) {
    this.aim(camera);
    this.spots = [];
    this.boxes = [];
    this.names = [];
    this.ends = [];
    this.troubles = [];
    this.rings = [];
    this.pen.clearRect(0, 0, this.width, this.height);
    this.nodes = new Map(network.nodes.filter((node) => node.latitude_deg !== null && node.longitude_deg !== null && node.kind !== "satellite")
      .map((node) => [node.name, { ...node, at: place(node.latitude_deg, node.longitude_deg, 3) }]));
    for (const satellite of network.satellites) this.sky(satellite, where(satellite.name));
    this.way();
    for (const hop of hops) this.hop(hop);
    for (const contact of network.contacts) if (contact.state === "now") this.beam(contact, where, network);
    for (const node of this.nodes.values()) this.node(node);
    for (const [x, y] of this.rings) { this.pen.beginPath(); this.pen.arc(x, y, 15, 0, 7); this.stroke(this.colours.halo, 5); this.pen.beginPath(); this.pen.arc(x, y, 15, 0, 7); this.stroke(this.colours.accent, 2.5); }
    for (const trouble of this.troubles) this.sign(trouble);
    for (const satellite of network.satellites) this.craft(satellite, where(satellite.name));
    this.write();
  }

  // Pixels of a point, or null where the Earth hides it.
  onScreen(point) {
    const away = point.clone().sub(this.eye);
    const length = away.length();
    away.divideScalar(length);
    const toMiddle = -this.eye.dot(away);
    const miss = this.eye.lengthSq() - toMiddle * toMiddle;
    if (miss < 1 && toMiddle > 0 && length > toMiddle - Math.sqrt(1 - miss) + 1e-4) return null;
    const flat = point.clone().project(this.camera);
    return flat.z > 1 ? null : [(flat.x + 1) * 0.5 * this.width, (1 - flat.y) * 0.5 * this.height];
  }

  path(points) {
    this.pen.beginPath();
    let drawn = false;
    const seen = [];
    for (const point of points) {
      const spot = this.onScreen(point);
      if (spot && drawn) this.pen.lineTo(...spot);
      else if (spot) this.pen.moveTo(...spot);
      drawn = Boolean(spot);
      if (spot) seen.push(spot);
    }
    return seen;
  }

  stroke(colour, width, { dash = [], alpha = 1 } = {}) {
    Object.assign(this.pen, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha, lineCap: "round", lineJoin: "round" });
    this.pen.setLineDash(dash);
    this.pen.stroke();
    this.pen.setLineDash([]);
    this.pen.globalAlpha = 1;
  }

  // A great circle between two nodes, lifted a little where it is long.
  arc(one, other) {
    const key = `${one.name}\n${other.name}`;
    const kept = this.arcs.get(key);
    if (kept && kept.from.equals(one.at) && kept.to.equals(other.at)) return kept.points;
    const angle = one.at.angleTo(other.at);
    const count = Math.max(2, Math.ceil(angle / ARC_STEP));
    const points = [];
    for (let i = 0; i <= count; i += 1) {
      const share = i / count;
      points.push(one.at.clone().lerp(other.at, share).setLength(1.0006 + 0.05 * angle * angle * Math.sin(Math.PI * share)));
    }
    this.arcs.set(key, { from: one.at, to: other.at, points });
    return points;
  }

  hop(hop) {
    const [one, other] = hop.ends.map((end) => this.nodes.get(end));
    if (!one || !other || hop.kind === "downlink") return;
    const points = this.path(this.arc(one, other));
    if (!points.length) return;
    const chosen = hop.links.some((link) => isSelected("link", link.name));
    const wide = Math.min(2.6 + 0.35 * (hop.links.length - 1), 5);
    this.stroke(this.colours.halo, wide + (chosen ? 6 : 2.4), { alpha: chosen ? 1 : 0.7 });
    if (chosen) this.stroke(this.colours.accent, wide + 4, { alpha: 0.55 });
    const state = hop.links.some((link) => link.eavesdropped) && hop.state !== "cut" ? "eavesdropped" : hop.state;
    const named = STATE_COLOURS[state];
    this.stroke(named ? this.colours[named] : rateColour(hop.rate_bps), wide, { dash: DASHES[state] });
    // A chosen hop that is a few pixels long gets a ring, and its ends their names.
    if (chosen && Math.hypot(points.at(-1)[0] - points[0][0], points.at(-1)[1] - points[0][1]) < 30) this.rings.push(points[points.length >> 1]);
    if (chosen) this.ends = hop.ends;
    const worst = hop.links.find((link) => link.state === hop.state) ?? hop.links[0];
    const middle = points[points.length >> 1];
    const signs = [hop.state, ...(state === hop.state ? [] : [state])].filter((one) => one !== "up" && one !== "idle");
    for (const what of signs) this.troubles.push({ what, middle, along: [points.at(-1)[0] - points[0][0], points.at(-1)[1] - points[0][1]], link: worst.name });
    for (let i = 0; i + 1 < points.length; i += 1) this.spots.push({ kind: "link", name: worst.name, from: points[i], to: points[i + 1] });
  }

  // Signs of trouble lie over everything, in the middle of a hop; of one so short that its ends would be covered, beside it with a line to it.
  sign({ what, middle, along, link }) {
    const pen = this.pen;
    const colour = this.colours[STATE_COLOURS[what]];
    const length = Math.hypot(...along);
    const aside = length < 44 ? [along[1] / (length || 1), -along[0] / (length || 1)] : [0, 0];
    const side = aside[0] < 0 ? -1 : 1;
    const spots = [26, -26, 48, -48, 70, -70].map((far) => [middle[0] + far * side * aside[0], middle[1] + far * side * aside[1]]);
    const free = ([sx, sy]) => !this.boxes.some((box) => sx + 11 > box[0] && sx - 11 < box[2] && sy + 11 > box[1] && sy - 11 < box[3]);
    const [x, y] = length < 44 ? spots.find(free) ?? spots[0] : middle;
    if (length < 44) {
      pen.beginPath(); pen.moveTo(...middle); pen.lineTo(x, y); this.stroke(this.colours.halo, 4);
      pen.beginPath(); pen.moveTo(...middle); pen.lineTo(x, y); this.stroke(colour, 1.6);
      pen.beginPath(); pen.arc(...middle, 2.6, 0, 7); pen.fillStyle = colour; pen.fill();
    }
    this.spots.push({ kind: "link", name: link, from: [x, y], to: [x, y], nearer: 8 });
    pen.beginPath();
    if (what === "alarm") { pen.moveTo(x, y - 10); pen.lineTo(x + 10, y + 7); pen.lineTo(x - 10, y + 7); pen.closePath(); } else pen.arc(x, y, 9, 0, 7);
    pen.fillStyle = this.colours["panel-solid"];
    pen.fill();
    this.stroke(colour, 2);
    pen.fillStyle = colour;
    pen.beginPath();
    if (what === "alarm") { pen.rect(x - 1.2, y - 4.5, 2.4, 6); pen.rect(x - 1.2, y + 3, 2.4, 2.2); pen.fill(); }
    if (what === "cut") { pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y + 4); pen.moveTo(x + 4, y - 4); pen.lineTo(x - 4, y + 4); this.stroke(colour, 2); }
    if (what === "eavesdropped") { pen.ellipse(x, y, 6, 3.6, 0, 0, 7); this.stroke(colour, 1.5); pen.beginPath(); pen.arc(x, y, 2, 0, 7); pen.fill(); }
    this.boxes.push([x - 11, y - 11, x + 11, y + 11]);
  }

  // The way of the chosen pair's keys, under the hops.
  way() {
    const route = state.selection?.kind === "pair" ? state.details?.route : null;
    for (let i = 0; route && i + 1 < route.length; i += 1) {
      const [one, other] = [this.nodes.get(route[i]), this.nodes.get(route[i + 1])];
      if (!one || !other) continue;
      this.path(this.arc(one, other));
      this.stroke(this.colours.accent, 11, { alpha: 0.5 });
    }
  }

  beam(contact, where, network) {
    const station = this.nodes.get(contact.station);
    if (!station || !network.satellites.some((satellite) => satellite.name === contact.satellite)) return;
    const to = where(contact.satellite);
    const points = this.path(Array.from({ length: 25 }, (_, i) => station.at.clone().lerp(to, i / 24)));
    const colour = rateColour(contact.rate_bps);
    this.stroke(colour, 11, { alpha: 0.16 });
    this.stroke(colour, 5.5, { alpha: 0.34 });
    this.stroke(colour, 2);
    for (let i = 0; i + 1 < points.length; i += 1) this.spots.push({ kind: "satellite", name: contact.satellite, from: points[i], to: points[i + 1] });
  }

  sky(satellite, at) {
    const chosen = isSelected("satellite", satellite.name);
    const track = satellite.track.map(([longitude, latitude, height]) => place(latitude, longitude, height));
    this.path(track);
    this.stroke(this.colours.orbit, chosen ? 2 : 1.1, { alpha: chosen ? 0.95 : 0.6 });
    const below = at.clone().normalize();
    const angle = satellite.footprint_km / RADIUS_KM;
    const side = new Vector3(0, 1, 0).cross(below).normalize();
    const ahead = below.clone().cross(side);
    const ring = Array.from({ length: 73 }, (_, i) => below.clone().multiplyScalar(Math.cos(angle)).addScaledVector(side, Math.sin(angle) * Math.cos((i * Math.PI) / 36))
      .addScaledVector(ahead, Math.sin(angle) * Math.sin((i * Math.PI) / 36)).setLength(1.001));
    const seen = this.path(ring);
    if (seen.length === ring.length) { this.pen.fillStyle = this.colours.satellite; this.pen.globalAlpha = chosen ? 0.14 : 0.07; this.pen.fill(); this.pen.globalAlpha = 1; }
    this.stroke(this.colours.satellite, 1.2, { dash: [2, 4], alpha: 0.75 });
  }

  craft(satellite, at) {
    const spot = this.onScreen(at);
    if (!spot) return;
    const [x, y] = spot;
    const pen = this.pen;
    const colour = this.colours.satellite;
    if (isSelected("satellite", satellite.name)) { pen.beginPath(); pen.arc(x, y, 14, 0, 7); this.stroke(this.colours.accent, 2.5); }
    pen.fillStyle = this.colours.halo;
    pen.beginPath(); pen.roundRect(x - 11.5, y - 5.5, 23, 11, 3); pen.fill();
    pen.fillStyle = colour;
    pen.beginPath(); pen.rect(x - 3, y - 4, 6, 8);
    if (satellite.sunlit) { pen.rect(x - 10, y - 2.5, 6, 5); pen.rect(x + 4, y - 2.5, 6, 5); }
    pen.fill();
    if (!satellite.sunlit) { pen.beginPath(); pen.rect(x - 10, y - 2.5, 6, 5); pen.rect(x + 4, y - 2.5, 6, 5); this.stroke(colour, 1); }
    this.spots.push({ kind: "satellite", name: satellite.name, from: spot, to: spot, nearer: 3 });
    this.boxes.push([x - 12, y - 7, x + 12, y + 7]);
    this.names.push({ text: nameOf(satellite.name), x, y, colour, weight: 60, bold: true });
  }

  node(node) {
    const spot = this.onScreen(node.at);
    if (!spot) return;
    const [x, y] = spot;
    const pen = this.pen;
    const chosen = isSelected("node", node.name) || (state.selection?.kind === "pair" && state.selection.name.includes(node.name));
    const station = node.kind === "ground station";
    // Seen from afar, the relays of a trunk line stand close together: they shrink, stations do not.
    const far = Math.min(1, Math.max(0.55, 0.9 / (this.eye.length() - 1)));
    const r = station || node.kind === "gateway" ? 5.5 : (node.kind === "user node" ? 3.4 : 4.4) * (node.alarms || chosen ? 1 : far);
    if (chosen) { pen.beginPath(); pen.arc(x, y, r + 5, 0, 7); this.stroke(this.colours.accent, 2.5); }
    pen.beginPath();
    if (station) { pen.moveTo(x, y - r - 1); pen.lineTo(x + r + 1, y); pen.lineTo(x, y + r + 1); pen.lineTo(x - r - 1, y); pen.closePath(); } else pen.arc(x, y, r, 0, 7);
    pen.fillStyle = node.compromised ? this.colours.spy : this.colours["panel-solid"];
    pen.fill();
    this.stroke(node.compromised ? this.colours.spy : node.alarms ? this.colours.bad : this.colours.label, node.alarms ? 2.6 : station ? 1.8 : 1.2 + 0.6 * far);
    if (node.cloudy) this.cloud(x - 9, y - 9);
    if (node.compromised) { pen.beginPath(); pen.moveTo(x - 2, y - 2); pen.lineTo(x + 2, y + 2); pen.moveTo(x + 2, y - 2); pen.lineTo(x - 2, y + 2); this.stroke(this.colours["panel-solid"], 1.5); }
    this.spots.push({ kind: "node", name: node.name, from: spot, to: spot, nearer: 4 });
    this.boxes.push([x - r - 1, y - r - 1, x + r + 1, y + r + 1]);
    const weight = (chosen || this.ends.includes(node.name) ? 100 : 0) + (node.alarms ? 40 : 0) + (node.compromised ? 40 : 0) + (station ? 20 : 0) + (node.kind === "user node" ? -10 : 0);
    this.names.push({ text: nameOf(node.name), x, y, colour: this.colours.label, weight, bold: chosen });
  }

  cloud(x, y) {
    const pen = this.pen;
    pen.beginPath();
    pen.arc(x - 4, y + 1, 3.5, 0, 7); pen.arc(x, y - 2, 4.5, 0, 7); pen.arc(x + 5, y + 1, 3.5, 0, 7); pen.rect(x - 4, y, 9, 4.5);
    pen.fillStyle = this.colours["ink-soft"];
    pen.fill();
  }

  // Names, the weightiest first, each on the first side where it covers nothing; one that finds no room is left out.
  write() {
    const pen = this.pen;
    this.names.sort((a, b) => b.weight - a.weight);
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    for (const { text, x, y, colour, bold } of this.names) {
      pen.font = `${bold ? 600 : 500} 12px system-ui, "Noto Sans CJK SC", sans-serif`;
      const wide = pen.measureText(text).width;
      const places = [[x + 10, y], [x - 10 - wide, y], [x - wide / 2, y - 15], [x - wide / 2, y + 16], [x + 9, y - 11], [x + 9, y + 12], [x - 9 - wide, y - 11], [x - 9 - wide, y + 12]];
      const room = places.find(([left, middle]) => {
        const box = [left - 2, middle - 7, left + wide + 2, middle + 7];
        return !this.boxes.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
      });
      if (!room) continue;
      const [left, middle] = room;
      this.boxes.push([left - 2, middle - 7, left + wide + 2, middle + 7]);
      pen.strokeStyle = this.colours.halo;
      pen.lineWidth = 3.5;
      pen.strokeText(text, left, middle);
      pen.fillStyle = colour;
      pen.fillText(text, left, middle);
    }
  }

  // Where a chosen thing lies, as a point above the Earth; null for what has no place.
  find({ kind, name }, hops, where) {
    if (kind === "satellite") return where(name);
    if (kind === "node") return this.nodes?.get(name)?.at ?? null;
    const ends = kind === "pair" ? name : hops.find((hop) => hop.links.some((link) => link.name === name))?.ends;
    const [one, other] = (ends ?? []).map((end) => this.nodes?.get(end)?.at);
    return one && other ? one.clone().add(other).setLength(1) : null;
  }

  // What lies nearest to a spot on the canvas, within `reach_px`; nodes and satellites before lines.
  at(x, y, reach_px) {
    let best = null;
    let least = reach_px;
    for (const spot of this.spots ?? []) {
      const [ax, ay] = spot.from;
      const [dx, dy] = [spot.to[0] - ax, spot.to[1] - ay];
      const share = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
      const distance = Math.hypot(x - ax - share * dx, y - ay - share * dy) - (spot.nearer ?? 0);
      if (distance < least) { least = distance; best = spot; }
    }
    return best;
  }
}
