export { AdditiveBlending, BackSide, BufferAttribute, BufferGeometry, CanvasTexture, Color, Line, LineBasicMaterial, LineLoop, LineSegments, Mesh, PerspectiveCamera, Points, PointsMaterial, Scene, ShaderMaterial, SphereGeometry, Vector3, WebGLRenderer } from 'three';
export { OrbitControls } from 'three/addons/controls/OrbitControls.js';
