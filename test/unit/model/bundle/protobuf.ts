/** Writes protobuf fields by hand: the parts of ONNX files that no honest exporter makes. */

export const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
};

/** A length-delimited field: text, bytes or a message made of fields. */
export const field = (number: number, ...parts: (string | Buffer)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Buffer.concat([varint(number * 8 + 2), varint(body.length), body]);
};

/** TensorProto whose values stand in another file. */
export const externalTensor = (location: string): Buffer =>
  Buffer.concat([
    field(8, 'weight'),
    field(13, field(1, 'location'), field(2, location)),
    field(13, field(1, 'offset'), field(2, '0')),
    Buffer.concat([varint(14 * 8), varint(1)]),
  ]);

/** ModelProto with these fields of its graph. */
export const model = (...graph: Buffer[]): Buffer =>
  Buffer.concat([varint(8), varint(7), field(7, ...graph)]);
