import { describe, expect, it } from 'vitest';
import { toReasonLine } from '../../../src/vision/reason-line.ts';

describe('toReasonLine', () => {
  it('returns one line without directories, and keeps the name of a library', () => {
    const text =
      '\u001b[1;31mFailed to load library /opt/app/node_modules/onnxruntime-node/bin/libonnxruntime_providers_cuda.so\n with error: libcudnn.so.9: cannot open /usr/lib/x: No such file\u0000';
    const line = toReasonLine(text);
    expect(line).toContain('libonnxruntime_providers_cuda.so');
    expect(line).toContain('libcudnn.so.9');
    expect(line).not.toMatch(/\/|\n|\[1;31m|\0/);
  });

  it('removes Windows paths and source positions, and replaces an empty text', () => {
    expect(toReasonLine('C:\\Users\\kai\\agent\\model.onnx failed')).toBe('… failed');
    expect(
      toReasonLine(
        '/onnxruntime_src/core/webgpu_context.cc:136 void f() ok was false. Failed to get a WebGPU adapter',
      ),
    ).toBe('Failed to get a WebGPU adapter');
    expect(toReasonLine(' \n')).toBe('no reason given');
  });

  it('limits the length, and keeps the start and the end', () => {
    expect(toReasonLine('x'.repeat(100_000)).length).toBeLessThanOrEqual(400);
    const long = `[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : ${'name '.repeat(200)} index: 0 Got: 1 Expected: 4`;
    expect(toReasonLine(long)).toMatch(/^\[ONNXRuntimeError\] : 2.* … .*Got: 1 Expected: 4$/);
  });
});
