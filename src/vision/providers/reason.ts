const MAX_REASON = 200;

/**
 * A foreign message as one line for people: no paths, no control characters, no source positions, bounded.
 * onnxruntime's messages name build folders and library files; those say nothing to an operator and must not leave
 * the machine.
 */
export function reasonLine(message: string): string {
  const line = message
    // Colour codes of native loggers.
    .replace(/\u001b\[[0-9;]*m/g, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    // onnxruntime's assertions: position, function and condition stand before what happened.
    .replace(/^.* was false\. /, '')
    // A library's own name is the useful part of its path: keep libcudnn.so.9, drop the folders.
    .replace(
      /(?:[A-Za-z]:\\|\\\\|\.{0,2}\/)(?:[^\s:'"()\\/]+[\\/])*([^\s:'"()\\/]*)/g,
      (_path, name: string) => (/\.(so|dylib|dll)\b/.test(name) ? name : '…'),
    )
    .replace(/…(:\d+)?(\s*…(:\d+)?)*/g, '…')
    .trim();
  if (line === '') return 'no reason given';
  return line.length <= MAX_REASON ? line : `${line.slice(0, MAX_REASON - 1)}…`;
}

/** The shared library that the loader of a provider did not find, from what it printed. */
export function missingLibrary(stderr: string): string | null {
  const name = /([^\s/\\:]+\.so(?:\.\d+)*): cannot open shared object file/.exec(stderr)?.[1];
  return name === undefined ? null : `${name} is missing`;
}
