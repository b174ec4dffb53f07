import { describe, expect, it } from 'vitest';
import { passTensorrtOptions } from '../../../../scripts/jetson/pass-tensorrt-options.ts';

/** The lines that the script looks for, as in session_options_helper.cc. */
const SOURCE = `#include <napi.h>

void ParseExecutionProviders(const Napi::Array epList, Ort::SessionOptions& sessionOptions) {
    Napi::Value epValue = epList[i];
      OrtCUDAProviderOptionsV2* options;
      Ort::ThrowOnError(Ort::GetApi().CreateCUDAProviderOptions(&options));
      OrtTensorRTProviderOptionsV2* options;
      Ort::ThrowOnError(Ort::GetApi().CreateTensorRTProviderOptions(&options));
      options->device_id = deviceId;
}
`;

describe('passTensorrtOptions', () => {
  it('calls the new function after the options of TensorRT exist, and before the device is set', () => {
    const changed = passTensorrtOptions(SOURCE) ?? '';
    expect(changed).toContain(
      'CreateTensorRTProviderOptions(&options));\n      PassTensorRTOptions(epValue, options);\n      options->device_id',
    );
    expect(changed.match(/PassTensorRTOptions\(epValue/g)).toHaveLength(1);
    expect(changed.indexOf('static void PassTensorRTOptions')).toBeLessThan(
      changed.indexOf('void ParseExecutionProviders'),
    );
  });

  it('changes nothing else', () => {
    const lines = (passTensorrtOptions(SOURCE) ?? '').split('\n');
    expect(SOURCE.split('\n').every((line) => lines.includes(line))).toBe(true);
  });

  it('does nothing the second time', () => {
    const once = passTensorrtOptions(SOURCE) ?? '';
    expect(passTensorrtOptions(once)).toBe(once);
  });

  it.each(['ParseExecutionProviders', 'CreateTensorRTProviderOptions', 'epList[i]'])(
    'refuses a source without %s',
    (anchor) => {
      expect(passTensorrtOptions(SOURCE.replace(anchor, 'somethingElse'))).toBeNull();
    },
  );
});
