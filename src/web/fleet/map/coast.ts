import land from 'world-atlas/land-110m.json';
import { project, type Point } from './projection.ts';

/** The part of TopoJSON (https://github.com/topojson/topojson-specification) that this file has. */
interface Topology {
  readonly transform: { readonly scale: Point; readonly translate: Point };
  readonly arcs: readonly (readonly Point[])[];
  readonly objects: {
    readonly land: { readonly geometries: readonly { readonly arcs: readonly (readonly number[][])[] }[] };
  };
}

/** Rings south of it are Antarctica, which has no edge in this projection. */
const SOUTH_END = -60;

/** The land of the world as the `d` of a path, in the units of `project`. Natural Earth, 1:110 million, public domain. */
export function coastPath(): string {
  const { transform, arcs, objects } = land as unknown as Topology;
  const decoded = arcs.map((arc) => decodeArc(arc, transform));
  const ringPath = (ring: readonly number[]): string => {
    const points = unwrap(
      ring.flatMap((index) => (index < 0 ? (decoded[~index] ?? []).toReversed() : (decoded[index] ?? []))),
    );
    if (points.every(([, lat]) => lat < SOUTH_END)) return '';
    const projected = points.map(([lon, lat]) => project({ lon, lat }));
    return `M${projected.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join('L')}Z`;
  };
  return objects.land.geometries.flatMap(({ arcs: polygons }) => polygons.flat().map(ringPath)).join('');
}

/** Each point of an arc is the difference to the one before. */
function decodeArc(arc: readonly Point[], { scale, translate }: Topology['transform']): readonly Point[] {
  let [x, y] = [0, 0];
  return arc.map(([dx, dy]) => {
    x += dx;
    y += dy;
    return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
  });
}

/** A ring over the 180th meridian continues beyond it, instead of crossing the whole map. */
function unwrap(points: readonly Point[]): readonly Point[] {
  let shift = 0;
  let before = points[0]?.[0] ?? 0;
  return points.map(([lon, lat]) => {
    if (lon - before > 180) shift -= 360;
    else if (lon - before < -180) shift += 360;
    before = lon;
    return [lon + shift, lat];
  });
}
