import { Type } from '@sinclair/typebox';
import { ERROR_CODES } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { MAX_EMBEDDING_VALUES } from '../model/manifest.ts';
import { closed, Nullable, StringEnum } from '../contract/schema-parts.ts';
import type { VisionReply } from './messages.ts';
import type { FrameResult, GreyPicture, QualityReason } from './protocol.ts';

/** Limits of what one reply may hold: far above what any valid model gives. */
const MAX_TEXT_CHARS = 4096;
const MAX_LABELS = 1024;
const MAX_JPEG_BYTES = 64 * 2 ** 20;

// The checker refuses NaN and infinity as numbers.
const Finite = Type.Number();
const Count = Type.Number({ minimum: 0 });
const Share = Type.Number({ minimum: 0, maximum: 1 });
const Text = Type.String({ maxLength: MAX_TEXT_CHARS });
const Bytes = Type.Unknown();
const REASONS = ['glare', 'dark', 'blur', 'fog', 'obstructed', 'damaged'] as const satisfies QualityReason[];

const ClassValue = Type.Object(
  {
    label: Text,
    probability01: Share,
    all: Type.Array(Type.Object({ label: Text, probability01: Share }, closed), { maxItems: MAX_LABELS }),
  },
  closed,
);
const Heads = Type.Object(
  {
    waveHeight: Nullable(
      Type.Object(
        { heightM: Finite, lowM: Nullable(Finite), highM: Nullable(Finite), coverage: Nullable(Share) },
        closed,
      ),
    ),
    waveDirection: Nullable(ClassValue),
    breakingType: Nullable(ClassValue),
    embedding: Bytes,
    quality: Nullable(
      Type.Array(Type.Object({ label: Text, value: Finite }, closed), { maxItems: MAX_LABELS }),
    ),
  },
  closed,
);
const Grey = Type.Object({ luma: Bytes, width: Count, height: Count }, closed);
const Columns = Type.Object(
  { ...Grey.properties, firstRow: Count, frameWidth: Count, frameHeight: Count },
  closed,
);
const Result = Type.Object(
  {
    widthPx: Count,
    heightPx: Count,
    quality: Type.Object(
      {
        score01: Share,
        reasons: Type.Array(StringEnum(REASONS), { maxItems: REASONS.length }),
        severity01: Type.Object(Object.fromEntries(REASONS.map((reason) => [reason, Share])), closed),
        signals: Type.Object(
          {
            glare01: Share,
            meanLuma: Count,
            stdLuma: Count,
            laplacianVariance: Count,
            blockStd: Count,
            sharpness01: Nullable(Share),
            obstruction01: Share,
            covered01: Share,
            damage01: Share,
          },
          closed,
        ),
      },
      closed,
    ),
    view: Grey,
    heads: Nullable(Heads),
    preview: Bytes,
    timingMs: Type.Object({ decode: Count, preprocess: Count, inference: Count }, closed),
  },
  closed,
);

const Shrunk = Type.Object({ ...Grey.properties, columns: Nullable(Columns) }, closed);
const numbered = { id: Type.Integer({ minimum: 0 }), rssMb: Count };
const isShaped = schemaChecker({ strict: true }).compile<VisionReply>(
  Type.Union([
    Type.Object({ type: Type.Literal('opened'), ...numbered }, closed),
    Type.Object({ type: Type.Literal('analyzed'), result: Result, ...numbered }, closed),
    Type.Object({ type: Type.Literal('rendered'), jpeg: Bytes, ...numbered }, closed),
    Type.Object({ type: Type.Literal('shrunk'), picture: Shrunk, ...numbered }, closed),
    Type.Object(
      {
        type: Type.Literal('failed'),
        error: Type.Object(
          {
            code: StringEnum(Object.keys(ERROR_CODES)),
            message: Text,
            context: Type.Record(Type.String(), Type.Unknown()),
          },
          closed,
        ),
        ...numbered,
      },
      closed,
    ),
  ]),
);

/**
 * True for a well-formed reply: known type and error code, finite numbers, byte arrays of the right size. The vision
 * process decodes images of strangers, so the agent trusts nothing that it sends.
 */
export function isVisionReply(message: unknown): message is VisionReply {
  if (!isShaped(message)) return false;
  if (message.type === 'rendered') return isJpeg(message.jpeg);
  if (message.type === 'shrunk') {
    const { columns } = message.picture;
    return isFilled(message.picture) && (columns === null || isFilled(columns));
  }
  return message.type !== 'analyzed' || hasValidArrays(message.result);
}

function hasValidArrays({ view, heads, preview }: FrameResult): boolean {
  if (!isFilled(view)) return false;
  if (preview !== null && !isJpeg(preview)) return false;
  const embedding: unknown = heads?.embedding ?? null;
  if (embedding === null) return true;
  return (
    embedding instanceof Float32Array &&
    embedding.length <= MAX_EMBEDDING_VALUES &&
    embedding.every((value) => Number.isFinite(value))
  );
}

const isFilled = ({ luma, width, height }: GreyPicture): boolean =>
  luma instanceof Uint8Array && luma.length === width * height && luma.length > 0;

const isJpeg = (value: unknown): boolean => value instanceof Uint8Array && value.length <= MAX_JPEG_BYTES;
