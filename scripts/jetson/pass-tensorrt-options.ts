// Changes the binding of onnxruntime-node, before it is built, so that it passes options to TensorRT:
//   node scripts/jetson/pass-tensorrt-options.ts js/node/src/session_options_helper.cc
// The properties of the provider object whose names begin with `trt_` reach TensorRT as strings. See docs/providers.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { argv, exit, stderr, stdout } from 'node:process';

const FUNCTION = `#ifdef USE_TENSORRT
#include <string>
#include <vector>

// Passes the properties whose names begin with "trt_" to TensorRT, as strings.
static void PassTensorRTOptions(const Napi::Value& provider, OrtTensorRTProviderOptionsV2* options) {
  if (!provider.IsObject()) return;
  const Napi::Object object = provider.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (uint32_t i = 0; i < names.Length(); i++) {
    const Napi::Value name = names[i];
    const std::string key = name.ToString().Utf8Value();
    if (key.rfind("trt_", 0) != 0) continue;
    keys.push_back(key);
    values.push_back(object.Get(key).ToString().Utf8Value());
  }
  if (keys.empty()) return;
  std::vector<const char*> keyPointers;
  std::vector<const char*> valuePointers;
  for (size_t i = 0; i < keys.size(); i++) {
    keyPointers.push_back(keys[i].c_str());
    valuePointers.push_back(values[i].c_str());
  }
  Ort::ThrowOnError(Ort::GetApi().UpdateTensorRTProviderOptions(options, keyPointers.data(), valuePointers.data(),
                                                                keys.size()));
}
#endif

`;

/** The function goes before the function that reads the list of providers. */
const BEFORE = /^void ParseExecutionProviders\(/m;
/** The call goes after the creation of the options: it resets the device id, which the binding sets next. */
const AFTER = /^.*\bCreateTensorRTProviderOptions\(&(\w+)\).*;\n/m;
/** The name of the value that holds one element of the list. */
const ELEMENT = /\bNapi::Value (\w+) = epList\[i\];/;

/** The changed source, or null if the source does not look as expected. A source that was changed already stays. */
export function passTensorrtOptions(source: string): string | null {
  if (source.includes('PassTensorRTOptions')) return source;
  const element = ELEMENT.exec(source)?.[1];
  const created = AFTER.exec(source);
  if (element === undefined || created === null || !BEFORE.test(source)) return null;
  const [line, options = ''] = created;
  const indent = /^\s*/.exec(line)?.[0] ?? '';
  return source
    .replace(AFTER, () => `${line}${indent}PassTensorRTOptions(${element}, ${options});\n`)
    .replace(BEFORE, (start) => FUNCTION + start);
}

if (import.meta.main) {
  const [, , file] = argv;
  const changed = file === undefined ? null : passTensorrtOptions(readFileSync(file, 'utf8'));
  if (file === undefined || changed === null) {
    stderr.write(
      file === undefined
        ? 'usage: pass-tensorrt-options.ts js/node/src/session_options_helper.cc\n'
        : `${file} is not the session_options_helper.cc that this script knows; change it by hand\n`,
    );
    exit(1);
  }
  writeFileSync(file, changed);
  stdout.write(`${file}: options that begin with trt_ reach TensorRT\n`);
}
