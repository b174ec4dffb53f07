/** Width and height in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Interleaved 8-bit RGB, row-major, no padding: `data.length === width * height * 3`. */
export interface Picture extends Size {
  readonly data: Uint8Array;
  /** Size of the whole upright image before it was scaled; its aspect ratio is the true one. */
  readonly source: Size;
}

/** A box in 0..1 of the picture, right and bottom exclusive. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export const WHOLE: Box = { left: 0, top: 0, right: 1, bottom: 1 };
