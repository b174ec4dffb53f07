import { describe, expect, it } from 'vitest';
import { isVisionReply } from '../../../src/vision/reply-check.ts';

const severity01 = { glare: 0, dark: 0, blur: 0.1, fog: 0, obstructed: 0, damaged: 0 };
const signals = {
  glare01: 0,
  meanLuma: 120,
  stdLuma: 40,
  laplacianVariance: 300,
  blockStd: 9,
  sharpness01: null,
  obstruction01: 0,
  covered01: 0,
  damage01: 0,
};
const classValue = { label: 'LEFT', probability01: 1, all: [{ label: 'LEFT', probability01: 1 }] };
const heads = {
  waveHeight: { heightM: 1.2, lowM: null, highM: 1.5, coverage: 0.8 },
  waveDirection: classValue,
  breakingType: null,
  embedding: new Float32Array([0.5, -1]),
  quality: [{ label: 'fog', value: -3 }],
};
const result = {
  widthPx: 64,
  heightPx: 36,
  quality: { score01: 0.9, reasons: ['blur'], severity01, signals },
  view: { luma: new Uint8Array(12), width: 4, height: 3 },
  heads,
  preview: null,
  timingMs: { decode: 1, preprocess: 2, inference: 3 },
};
const analyzed = { id: 1, type: 'analyzed', result, rssMb: 100 };
const withResult = (part: object) => ({ ...analyzed, result: { ...result, ...part } });
const withHeads = (part: object) => withResult({ heads: { ...heads, ...part } });

const columns = {
  ...{ luma: new Uint8Array(8), width: 2, height: 4 },
  ...{ firstRow: 3, frameWidth: 1280, frameHeight: 720 },
};
const shrunk = (part: object) => ({
  ...{ id: 3, type: 'shrunk', rssMb: 1 },
  picture: { luma: new Uint8Array(6), width: 3, height: 2, columns: null, ...part },
});

describe('replies of the vision process', () => {
  it.each([
    ['an opened model', { id: 0, type: 'opened', rssMb: 90 }],
    ['a frame', analyzed],
    ['a rejected frame with a preview', withResult({ heads: null, preview: new Uint8Array(9) })],
    ['a grey picture', shrunk({})],
    ['a grey picture with columns', shrunk({ columns })],
    ['a JPEG', { id: 3, type: 'rendered', jpeg: Buffer.from([1]), rssMb: 1 }],
    [
      'a failure',
      { id: 4, type: 'failed', error: { code: 'image_empty', message: 'x', context: { a: 1 } }, rssMb: 1 },
    ],
  ])('are accepted: %s', (_name, reply) => {
    expect(isVisionReply(reply)).toBe(true);
  });

  it.each([
    ['nothing', null],
    ['a text', 'analyzed'],
    ['an unknown type', { id: 1, type: 'done', rssMb: 1 }],
    ['no number', { ...analyzed, id: undefined }],
    ['a fraction as number', { ...analyzed, id: 1.5 }],
    ['a memory of NaN', { ...analyzed, rssMb: Number.NaN }],
    ['an additional field', { ...analyzed, extra: 1 }],
    ['no result', { ...analyzed, result: undefined }],
    ['an unknown reason', withResult({ quality: { score01: 1, reasons: ['dragons'], severity01, signals } })],
    ['a score above 1', withResult({ quality: { score01: 2, reasons: [], severity01, signals } })],
    [
      'a signal of NaN',
      withResult({
        quality: { score01: 1, reasons: [], severity01, signals: { ...signals, stdLuma: Number.NaN } },
      }),
    ],
    ['a view of the wrong size', withResult({ view: { luma: new Uint8Array(11), width: 4, height: 3 } })],
    ['a view that is a list', withResult({ view: { luma: [0], width: 1, height: 1 } })],
    [
      'a height of infinity',
      withHeads({ waveHeight: { heightM: Infinity, lowM: null, highM: null, coverage: null } }),
    ],
    ['a probability of NaN', withHeads({ waveDirection: { ...classValue, probability01: Number.NaN } })],
    ['an embedding with NaN', withHeads({ embedding: new Float32Array([1, Number.NaN]) })],
    ['an embedding of four million values', withHeads({ embedding: new Float32Array(4_000_000) })],
    ['an embedding that is a list', withHeads({ embedding: [1, 2] })],
    ['a grey picture of the wrong size', shrunk({ luma: new Uint8Array(5) })],
    ['columns of the wrong size', shrunk({ columns: { ...columns, luma: new Uint8Array(7) } })],
    ['columns of an unknown frame', shrunk({ columns: { ...columns, frameWidth: Number.NaN } })],
    ['a text as JPEG', { id: 1, type: 'rendered', jpeg: 'ffd8', rssMb: 1 }],
    [
      'an unknown error code',
      { id: 1, type: 'failed', error: { code: 'nope', message: '', context: {} }, rssMb: 1 },
    ],
    [
      'a code of the prototype',
      { id: 1, type: 'failed', error: { code: 'toString', message: '', context: {} }, rssMb: 1 },
    ],
    [
      'an error without a context',
      { id: 1, type: 'failed', error: { code: 'internal', message: '' }, rssMb: 1 },
    ],
  ])('are refused: %s', (_name, reply) => {
    expect(isVisionReply(reply)).toBe(false);
  });
});
