import sharp from 'sharp';

// Alters real frames as bad weather, a dirty lens or a broken connection would.

interface Raw {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
}

/** Width of the altered frames, pixels: large enough for the gate, small enough for a fast test. */
export const WIDTH = 640;

async function open(jpeg: Uint8Array): Promise<Raw> {
  const { data, info } = await sharp(jpeg).resize(WIDTH).raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

const encode = ({ data, width, height }: Raw): Promise<Buffer> =>
  sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 85 })
    .toBuffer();

/** Approximately normal with deviation 1. Three uniforms are cheaper than a logarithm for millions of values. */
const gauss = (next: () => number): number => 2 * (next() + next() + next() - 1.5);

/** Out of focus: Gaussian blur, sigma in pixels of a frame 512 pixels wide. */
export async function blurred(jpeg: Uint8Array, sigmaAt512: number): Promise<Buffer> {
  return sharp(jpeg)
    .resize(WIDTH)
    .blur((sigmaAt512 * WIDTH) / 512)
    .jpeg({ quality: 85 })
    .toBuffer();
}

/** Night: a darker gamma curve at a third of the brightness, and sensor noise. */
export async function night(jpeg: Uint8Array, gamma: number, next: () => number): Promise<Buffer> {
  const raw = await open(jpeg);
  for (let i = 0; i < raw.data.length; i++) {
    raw.data[i] = Math.min(255, Math.max(0, 90 * (raw.data[i]! / 255) ** gamma + 3 * gauss(next)));
  }
  return encode(raw);
}

/** Blends `over` into the frame within a disc with a soft edge. */
function blendDisc(
  raw: Raw,
  over: (i: number) => number,
  disc: { x: number; y: number; r: number; edge: number },
): void {
  const top = Math.max(0, Math.floor(disc.y - disc.r - 4 * disc.edge));
  const bottom = Math.min(raw.height, Math.ceil(disc.y + disc.r + 4 * disc.edge));
  for (let y = top; y < bottom; y++) {
    for (let x = 0; x < raw.width; x++) {
      const share = 1 / (1 + Math.exp((Math.hypot(x - disc.x, y - disc.y) - disc.r) / disc.edge));
      if (share < 0.01) continue;
      for (let c = 0; c < 3; c++) {
        const i = (y * raw.width + x) * 3 + c;
        raw.data[i] = raw.data[i]! * (1 - share) + over(i) * share;
      }
    }
  }
}

/** A dark, unfocused object in front of the lens that hides this share of the lower five eighths. */
export async function occluded(jpeg: Uint8Array, share01: number, next: () => number): Promise<Buffer> {
  const raw = await open(jpeg);
  const r = Math.sqrt((share01 * raw.width * raw.height * 0.625) / Math.PI);
  const disc = { x: raw.width * (0.35 + 0.3 * next()), y: raw.height * 0.6875, r, edge: raw.width / 80 };
  const shade = 15 + 90 * next();
  blendDisc(raw, () => shade + 1.5 * gauss(next), disc);
  return encode(raw);
}

/** Rain on the lens: each drop smears the scene behind it. */
export async function rained(jpeg: Uint8Array, drops: number, next: () => number): Promise<Buffer> {
  const raw = await open(jpeg);
  const smeared = await sharp(jpeg)
    .resize(WIDTH)
    .blur(raw.width / 80)
    .raw()
    .toBuffer();
  for (let drop = 0; drop < drops; drop++) {
    const r = (raw.width / 512) * (20 + 30 * next());
    const disc = { x: raw.width * next(), y: raw.height * next(), r, edge: raw.width / 256 };
    blendDisc(raw, (i) => smeared[i]!, disc);
  }
  return encode(raw);
}

export type Damage = 'random 2 KB' | 'zeroed 2 KB' | 'missing 2 KB' | 'random 64 B';

/** Damages the image data at a random position; the header stays intact. */
export function damaged(jpeg: Uint8Array, kind: Damage, next: () => number): Buffer {
  const bytes = Buffer.from(jpeg);
  const length = kind === 'random 64 B' ? 64 : 2048;
  const dataFrom = bytes.indexOf(Buffer.from([0xff, 0xda])) + 14;
  const at = dataFrom + Math.floor(next() * (bytes.length - dataFrom - length - 2));
  if (kind === 'missing 2 KB') return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
  for (let i = at; i < at + length; i++) bytes[i] = kind === 'zeroed 2 KB' ? 0 : Math.floor(256 * next());
  return bytes;
}
