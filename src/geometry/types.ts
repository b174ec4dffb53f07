/** East, north and up, metres. */
export type WorldPoint = readonly [x: number, y: number, z: number];

/** Column and row of the image, pixels from its upper left corner. */
export type PixelPoint = readonly [u: number, v: number];

/** The lens model of OpenCV: a pinhole with radial and tangential distortion (Brown 1966). */
export interface Lens {
  /** Focal lengths, pixels. */
  readonly fx: number;
  readonly fy: number;
  /** Principal point, pixels. */
  readonly cx: number;
  readonly cy: number;
  /** k1, k2, p1, p2, k3. */
  readonly distortion: readonly [number, number, number, number, number];
}

/** Position and direction of a camera. */
export interface Pose {
  readonly position: WorldPoint;
  /** Direction of view, degrees clockwise from north. */
  readonly azimuthDeg: number;
  /** Angle of the direction of view below the horizon, degrees. */
  readonly tiltDeg: number;
  /** Clockwise rotation of the camera about its direction of view, as seen from behind it, degrees. */
  readonly rollDeg: number;
}

/** A point of known position that can be seen in the image. */
export interface ControlPoint {
  readonly name: string;
  readonly world: WorldPoint;
  readonly pixel: PixelPoint;
}
