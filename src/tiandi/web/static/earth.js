// The Earth: land and sea from vector data, day and night from where the sun stands, the glow of the air.
import * as three from "./vendor/three.js";
import { colourOf } from "./dom.js";
import { isDark } from "./colours.js";

export const RADIUS_KM = 6371;
const DEGREE = Math.PI / 180;

// The point above a place, the Earth's radius being 1; y points north, x to longitude 0.
export function place(latitude_deg, longitude_deg, height_km = 0) {
  const latitude = latitude_deg * DEGREE;
  const longitude = longitude_deg * DEGREE;
  const r = 1 + height_km / RADIUS_KM;
  return new three.Vector3(r * Math.cos(latitude) * Math.cos(longitude), r * Math.sin(latitude), -r * Math.cos(latitude) * Math.sin(longitude));
}

const SURFACE = {
  vertexShader: `
    varying vec2 spot; varying vec3 up, here;
    void main() { spot = uv; up = normal; here = position; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.); }`,
  // The mask's edge is drawn one pixel wide at any distance; night falls over the 18 degrees of twilight.
  fragmentShader: `
    uniform sampler2D mask; uniform vec3 sun, seaDay, landDay, seaNight, landNight, glow; uniform float rim; uniform vec2 size;
    varying vec2 spot; varying vec3 up, here;
    void main() {
      vec2 step = fwidth(spot) * size;
      float blur = clamp(.5 * max(min(step.x, size.x * .5), step.y), .04, .5);
      float land = smoothstep(.5 - blur, .5 + blur, texture2D(mask, spot).r);
      float height = dot(normalize(up), sun);
      float day = smoothstep(-.31, .12, height);
      float noon = .86 + .14 * max(height, 0.);
      vec3 colour = mix(mix(seaNight, landNight, land), mix(seaDay, landDay, land) * noon, day);
      float edge = pow(1. - max(dot(normalize(up), normalize(cameraPosition - here)), 0.), 3.);
      gl_FragColor = vec4(mix(colour, glow, edge * rim * (.35 + .65 * day)), 1.);
    }`,
};
const AIR = {
  vertexShader: `varying vec3 up, here; void main() { up = normal; here = position; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.); }`,
  fragmentShader: `
    uniform vec3 sun, glow; uniform float strength; varying vec3 up, here;
    void main() {
      float thick = pow(max(dot(-normalize(up), normalize(cameraPosition - here)) * 2.6, 0.), 2.6);
      gl_FragColor = vec4(glow, thick * strength * (.3 + .7 * smoothstep(-.4, .4, dot(normalize(up), sun))));
    }`,
};

async function readLand() {
  const data = await (await fetch("/static/land-50m.json")).json();
  return data.rings.map((steps) => {
    const ring = new Float32Array(steps.length);
    let x = 0;
    let y = 0;
    for (let i = 0; i < steps.length; i += 2) {
      x += steps[i];
      y += steps[i + 1];
      ring[i] = x * data.unit_deg;
      ring[i + 1] = y * data.unit_deg;
    }
    return ring;
  });
}

function landMask(rings, width) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = width / 2;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, width / 2);
  pen.fillStyle = "#fff";
  pen.beginPath();
  const scale = width / 360;
  // A ring that runs over the 180th meridian is drawn at both edges of the map.
  const trace = (ring, turn) => {
    pen.moveTo((ring[0] + turn) * scale, (90 - ring[1]) * scale);
    for (let i = 2; i < ring.length; i += 2) pen.lineTo((ring[i] + turn) * scale, (90 - ring[i + 1]) * scale);
    pen.closePath();
  };
  for (const ring of rings) {
    const longitudes = ring.filter((_, i) => i % 2 === 0);
    trace(ring, 180);
    if (longitudes.some((longitude) => longitude > 180)) trace(ring, -180);
    if (longitudes.some((longitude) => longitude < -180)) trace(ring, 540);
  }
  pen.fill("evenodd");
  return new three.CanvasTexture(canvas);
}

function lines(points, opacity) {
  const geometry = new three.BufferGeometry();
  geometry.setAttribute("position", new three.BufferAttribute(new Float32Array(points), 3));
  return new three.LineSegments(geometry, new three.LineBasicMaterial({ transparent: true, opacity, depthWrite: false }));
}

function coastLines(rings) {
  const points = [];
  for (const ring of rings) {
    for (let i = 0; i + 3 < ring.length; i += 2) {
      // The seams of the data: where the map is cut at 180 degrees, and the pole under Antarctica.
      const seam = (Math.abs(Math.abs(ring[i]) - 180) < 0.05 && ring[i] === ring[i + 2]) || ring[i + 1] < -89.5 || ring[i + 3] < -89.5;
      if (seam) continue;
      points.push(...place(ring[i + 1], ring[i], 2).toArray(), ...place(ring[i + 3], ring[i + 2], 2).toArray());
    }
  }
  return lines(points, 0.75);
}

function grid() {
  const points = [];
  const add = (...spots) => { for (const [latitude, longitude] of spots) points.push(...place(latitude, longitude, 1.5).toArray()); };
  for (let longitude = -180; longitude < 180; longitude += 30) {
    for (let latitude = -84; latitude < 84; latitude += 3) add([latitude, longitude], [latitude + 3, longitude]);
  }
  for (let latitude = -60; latitude <= 60; latitude += 30) {
    for (let longitude = -180; longitude < 180; longitude += 3) add([latitude, longitude], [latitude, longitude + 3]);
  }
  return lines(points, 0.28);
}

// Stars are for the eye only: evenly strewn, always the same.
function stars() {
  const points = [];
  for (let i = 0; i < 900; i += 1) {
    const y = 1 - (2 * (i + 0.5)) / 900;
    const turn = i * 2.399963 + Math.sin(i * 12.9898) * 2;
    const r = Math.sqrt(1 - y * y);
    points.push(60 * r * Math.cos(turn), 60 * (y + 0.03 * Math.sin(i * 78.233)), 60 * r * Math.sin(turn));
  }
  const geometry = new three.BufferGeometry();
  geometry.setAttribute("position", new three.BufferAttribute(new Float32Array(points), 3));
  return new three.Points(geometry, new three.PointsMaterial({ size: 1.4, sizeAttenuation: false, transparent: true, opacity: 0.55, depthWrite: false }));
}

export async function makeEarth(scene, { lite, maximumTexture }) {
  const rings = await readLand();
  const mask = landMask(rings, Math.min(lite ? 1024 : 4096, maximumTexture));
  mask.anisotropy = lite ? 1 : 4;
  const sun = { value: place(0, 0) };
  const glow = { value: new three.Color() };
  const uniforms = { mask: { value: mask }, sun, glow, rim: { value: 0.6 }, size: { value: { x: mask.image.width, y: mask.image.height } } };
  for (const name of ["seaDay", "landDay", "seaNight", "landNight"]) uniforms[name] = { value: new three.Color() };
  const surface = new three.Mesh(new three.SphereGeometry(1, lite ? 128 : 192, lite ? 64 : 96), new three.ShaderMaterial({ uniforms, ...SURFACE }));
  const strength = { value: 1 };
  const air = new three.Mesh(
    new three.SphereGeometry(1.045, 96, 48),
    new three.ShaderMaterial({ uniforms: { sun, glow, strength }, ...AIR, side: three.BackSide, transparent: true, depthWrite: false }),
  );
  const coast = coastLines(rings);
  const net = grid();
  const sky = stars();
  scene.add(surface, air, net, coast, sky);
  // Colours pass through as the style sheet gives them: shaders and canvas both write the screen's own values.
  const read = (name, target) => target.setStyle(colourOf(name), "");
  return {
    recolour() {
      read("sea-day", uniforms.seaDay.value); read("land-day", uniforms.landDay.value);
      read("sea-night", uniforms.seaNight.value); read("land-night", uniforms.landNight.value);
      read("glow", glow.value); read("coast", coast.material.color); read("grid", net.material.color); read("star", sky.material.color);
      strength.value = isDark() ? 0.95 : 0.5;
      uniforms.rim.value = isDark() ? 0.55 : 0.4;
      sky.visible = isDark() && !lite;
    },
    setSun(latitude_deg, longitude_deg) { sun.value.copy(place(latitude_deg, longitude_deg)); },
  };
}
