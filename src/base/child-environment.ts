/**
 * What a child process is for: `vision` runs models or asks for the hardware, `fetch` downloads models, `program` is a
 * program of the system or of a camera, such as ffmpeg. Each kind gets only the variables that it may see: others may hold
 * secrets, name a directory with secrets (CREDENTIALS_DIRECTORY), or let a program speak for the agent (NOTIFY_SOCKET).
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
  /**
   * What camera stacks (GStreamer, libcamera, Video4Linux, video acceleration), scripts and the tools of systemd look for.
   * Proxies are left out, because their addresses may hold passwords.
   */
  program:
    /^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|SystemRoot|LD_LIBRARY_PATH|LD_PRELOAD|GLIBC_TUNABLES|DYLD_LIBRARY_PATH|DISPLAY|WAYLAND_DISPLAY|XDG_(CACHE_HOME|CONFIG_HOME|DATA_DIRS|DATA_HOME|RUNTIME_DIR)|SSL_CERT_(FILE|DIR)|PYTHON(HOME|PATH|UNBUFFERED)|PERL5LIB|VIRTUAL_ENV|GI_TYPELIB_PATH|DBUS_SYSTEM_BUS_ADDRESS|(GST|LIBCAMERA|LIBPISP|LIBVA|VDPAU|MESA|CUDA|NVIDIA)_\w+)$/,
};

/** The variables of `environment` that a child process of this kind may see. */
export const childEnvironment = (environment: NodeJS.ProcessEnv, kind: ChildKind): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => PASSED[kind].test(name)));
