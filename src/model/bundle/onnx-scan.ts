import { open } from 'node:fs/promises';
import { constants } from 'node:fs';
import { AgentError } from '../../base/errors.ts';
import { FileWindow } from '../archive/file-window.ts';

/** What an ONNX file takes from outside itself. */
export interface OnnxScan {
  /** `location` of every tensor that is stored in another file, each once. */
  readonly externalFiles: readonly string[];
  /** Nodes of all graphs and functions. */
  readonly nodes: number;
}

/**
 * The messages on the way to tensors: field number -> message type. Everything else is skipped unread.
 * Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
const CHILDREN: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  Model: { 7: 'Graph', 20: 'Training', 25: 'Function' },
  Training: { 1: 'Graph', 2: 'Graph' },
  Function: { 7: 'Node', 11: 'Attribute' },
  Graph: { 1: 'Node', 5: 'Tensor', 15: 'SparseTensor' },
  Node: { 4: 'OpType', 5: 'Attribute' },
  Attribute: { 5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph', 22: 'SparseTensor', 23: 'SparseTensor' },
  SparseTensor: { 1: 'Tensor', 2: 'Tensor' },
  Tensor: { 13: 'ExternalEntry' },
};
const GRAPH_OF_MODEL = 7;
/** The field that holds a tensor's dimensions, one number after another or packed together. */
const DIMS: Readonly<Record<string, number>> = { Tensor: 1, SparseTensor: 3 };

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Deeper than any real nesting of control flow; far more fields than any real model has. */
const MAX_DEPTH = 64;
const MAX_FIELDS = 5_000_000;
const MAX_TEXT_BYTES = 4096;
/** Opening a graph takes longer than its nodes: 50,000 in a row take half a minute on a board. Large models have 5,000. */
const MAX_NODES = 20_000;
/** A tensor may announce more than the file holds: a sparse one is laid out in full before it is used. */
const MAX_VALUES = 2 ** 29;
const MAX_DIMS = 64;

/**
 * Walks the protobuf of an ONNX file without loading its weights.
 * Throws `model_bundle_refused` when it is no ONNX file, or holds compiled code of one provider (`EPContext`), which
 * names files of its own.
 */
export async function scanOnnx(path: string, name: string): Promise<OnnxScan> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    const walk = new Walk(new FileWindow(file), name);
    await walk.message('Model', 0, size, 0);
    if (!walk.sawGraph) throw walk.refusal('is no ONNX model: it holds no graph');
    return { externalFiles: [...walk.externalFiles], nodes: walk.nodes };
  } finally {
    await file.close();
  }
}

/** What the dimensions of a tensor come to, as they are read. */
class Announced {
  count = 0;
  values = 1;
}

class Walk {
  readonly externalFiles = new Set<string>();
  sawGraph = false;
  nodes = 0;
  readonly #window: FileWindow;
  readonly #name: string;
  #fields = 0;

  constructor(window: FileWindow, name: string) {
    this.#window = window;
    this.#name = name;
  }

  async message(type: string, start: number, end: number, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw this.refusal('nests too deeply');
    const children = CHILDREN[type] ?? {};
    if (type === 'Node' && ++this.nodes > MAX_NODES)
      throw this.refusal(`has more than ${String(MAX_NODES)} nodes`);
    const dims = new Announced();
    for (let at = start; at < end;) {
      if (++this.#fields > MAX_FIELDS) throw this.refusal('has too many parts');
      const tag = await this.#varint(at, end);
      const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
      if (field === 0) throw this.refusal('is no ONNX model');
      const isDims = field === DIMS[type];
      if (wire !== BYTES) {
        if (isDims && wire === VARINT) this.#announce(dims, (await this.#varint(tag.next, end)).value);
        at = await this.#skip(wire, tag.next, end);
        continue;
      }
      const length = await this.#varint(tag.next, end);
      const bodyEnd = length.next + length.value;
      if (bodyEnd > end) throw this.refusal('is truncated');
      const child = children[field];
      if (type === 'Model' && field === GRAPH_OF_MODEL) this.sawGraph = true;
      if (isDims) {
        for (let next = length.next; next < bodyEnd;) {
          const dim = await this.#varint(next, bodyEnd);
          this.#announce(dims, dim.value);
          next = dim.next;
        }
      }
      if (child !== undefined) await this.#enter(child, length.next, bodyEnd, depth + 1);
      at = bodyEnd;
    }
  }

  refusal(why: string): AgentError {
    return new AgentError('model_bundle_refused', `${this.#name} ${why}`, { context: { file: this.#name } });
  }

  #announce(dims: Announced, dim: number): void {
    // A zero empties the tensor, and must not hide what stands beside it.
    dims.values *= Math.max(1, dim);
    if (++dims.count > MAX_DIMS || dims.values > MAX_VALUES)
      throw this.refusal(`announces a tensor of more than ${String(MAX_VALUES)} values`);
  }

  async #enter(type: string, start: number, end: number, depth: number): Promise<void> {
    switch (type) {
      case 'OpType':
        if ((await this.#text(start, end)) === 'EPContext') {
          throw this.refusal('holds code compiled for one provider (EPContext)');
        }
        return;
      case 'ExternalEntry':
        return this.#externalEntry(start, end);
      default:
        return this.message(type, start, end, depth);
    }
  }

  /** StringStringEntryProto: key = 1, value = 2. */
  async #externalEntry(start: number, end: number): Promise<void> {
    let [key, value] = ['', ''];
    for (let at = start; at < end;) {
      const tag = await this.#varint(at, end);
      const length = await this.#varint(tag.next, end);
      const bodyEnd = length.next + length.value;
      if (tag.value % 8 !== BYTES || bodyEnd > end) throw this.refusal('is no ONNX model');
      const text = await this.#text(length.next, bodyEnd);
      if (Math.floor(tag.value / 8) === 1) key = text;
      else value = text;
      at = bodyEnd;
    }
    if (key === 'location') this.externalFiles.add(value);
  }

  async #skip(wire: number, at: number, end: number): Promise<number> {
    let next: number;
    if (wire === VARINT) next = (await this.#varint(at, end)).next;
    else if (wire === FIXED64) next = at + 8;
    else if (wire === FIXED32) next = at + 4;
    else throw this.refusal('is no ONNX model');
    if (next > end) throw this.refusal('is truncated');
    return next;
  }

  async #text(start: number, end: number): Promise<string> {
    if (end - start > MAX_TEXT_BYTES) throw this.refusal('has an overlong name');
    await this.#window.reach(start, end - start);
    return this.#window.text(start, end);
  }

  async #varint(start: number, end: number): Promise<{ value: number; next: number }> {
    await this.#window.reach(start, Math.min(10, end - start));
    let value = 0;
    for (let at = start; at < Math.min(end, start + 10); at++) {
      const byte = this.#window.byte(at);
      value += (byte & 0x7f) * 2 ** (7 * (at - start));
      if (byte < 0x80) return { value, next: at + 1 };
    }
    throw this.refusal('is truncated');
  }
}
