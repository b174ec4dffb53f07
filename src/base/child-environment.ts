/**
 * What a child process is for: `vision` runs models, `fetch` downloads them, `program` is a camera program such as ffmpeg.
 * Each kind gets only the variables that it may see, because others may hold secrets.
 */
export type ChildKind = 'vision' | 'fetch' | 'program';

const PASSED: Readonly<Record<ChildKind, RegExp>> = {
  /**
   * What native libraries look for. docs/providers.md says what the GPU of a Jetson needs: LD_LIBRARY_PATH, LD_PRELOAD or
   * GLIBC_TUNABLES (static TLS of libgomp), and the CUDA, CUDNN, CUBLAS and NVIDIA variables.
   */
  vision:
    /^(PATH|HOME|LANG|LC_ALL|TZ|TMPDIR|LD_LIBRARY_PATH|LD_PRELOAD|GLIBC_TUNABLES|DYLD_LIBRARY_PATH|XDG_(CACHE_HOME|RUNTIME_DIR)|DISPLAY|SystemRoot|TEMP|LOCALAPPDATA|(CUDA|CUDNN|CUBLAS|NVIDIA|VK|ORT|MESA|LIBVA|COREML)_\w+)$/,
  /** What TLS, proxies, time zones and scratch files need. */
  fetch:
    /^(TZ|TMPDIR|NODE_EXTRA_CA_CERTS|NODE_USE_SYSTEM_CA|NODE_USE_ENV_PROXY|SSL_CERT_(FILE|DIR)|(HTTPS?|NO)_PROXY|https?_proxy|no_proxy|SystemRoot)$/,
  /** Everything except the agent's own settings. */
  program: /^(?!SWELLSIGHT_)/,
};

/** The variables of `environment` that a child process of this kind may see. */
export const childEnvironment = (environment: NodeJS.ProcessEnv, kind: ChildKind): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => PASSED[kind].test(name)));
